// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cerrno>

#include "confine.hpp"

namespace py = pybind11;

namespace edgeguard {
void bind_rings(py::module_ &m);
namespace {

void raise_for(int error) {
  if (error == 0) return;
  errno = error;
  PyErr_SetFromErrno(PyExc_OSError);
  throw py::error_already_set();
}

} // namespace
} // namespace edgeguard

PYBIND11_MODULE(_isolation, m) {
  using namespace edgeguard;
  m.doc() = "edgeguard's workers: the memory between them and the guard, and what confines them";
  bind_rings(m);
  m.def("no_new_privileges", [] { raise_for(no_new_privileges()); });
  m.def("drop_capabilities", [] { raise_for(drop_capabilities()); });
  m.def("landlock_abi", &landlock_abi);
  m.def(
      "landlock",
      [](const std::vector<std::string> &readable, const std::vector<std::string> &devices,
         uint16_t port) { raise_for(landlock(readable, devices, port)); },
      py::arg("readable"), py::arg("devices"), py::arg("port") = 0);
  m.def("has_seccomp", &has_seccomp);
  m.def(
      "seccomp", [](bool devices, int family) { raise_for(seccomp(devices, family)); },
      py::arg("devices"), py::arg("family") = 0);
  m.def(
      "spawn",
      [](const std::vector<std::string> &arguments, const std::vector<std::string> &environment,
         const std::vector<int> &kept, bool quiet) {
        if (arguments.empty()) throw py::value_error("arguments: want a program");
        int pid = 0, error = 0;
        {
          py::gil_scoped_release others_go_on;
          error = spawn(arguments, environment, kept, quiet, pid);
        }
        raise_for(error);
        return pid;
      },
      py::arg("arguments"), py::arg("environment"), py::arg("kept"), py::arg("quiet"));
}
