// SPDX-License-Identifier: Apache-2.0
// Methods that Python calls without pybind11 in between. It finds the C++ object, converts and
// dispatches through tables of its own, and right after an inference nearly every line of them is
// a cache miss; the three calls of each step do without.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace edgeguard {

using Arguments = PyObject *const *;

template <class T> T *inside(PyObject *o) {
  static PyTypeObject *const type = reinterpret_cast<PyTypeObject *>(pybind11::type::of<T>().ptr());
  if (!PyObject_TypeCheck(o, type))
    throw pybind11::type_error("want a " + std::string(type->tp_name));
  auto *instance = reinterpret_cast<pybind11::detail::instance *>(o);
  auto *found = static_cast<T *>(instance->get_value_and_holder().value_ptr());
  if (!found) throw pybind11::type_error(std::string(type->tp_name) + " without its __init__");
  return found;
}

template <class T, PyObject *(T::*Method)(Arguments), Py_ssize_t Count>
PyObject *direct(PyObject *self, Arguments given, Py_ssize_t count) noexcept {
  try {
    if (count != Count) throw pybind11::type_error("want " + std::to_string(Count) + " arguments");
    return (inside<T>(self)->*Method)(given);
  } catch (pybind11::error_already_set &e) {
    e.restore();
  } catch (const pybind11::builtin_exception &e) {
    e.set_error();
  } catch (const std::exception &e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  return nullptr;
}

template <class T, PyObject *(T::*Method)(Arguments), Py_ssize_t Count>
void def_direct(pybind11::class_<T> &type, const char *name) {
  static PyMethodDef method{
      name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&direct<T, Method, Count>)),
      METH_FASTCALL, nullptr};
  auto *of = reinterpret_cast<PyTypeObject *>(type.ptr());
  type.attr(name) = pybind11::reinterpret_steal<pybind11::object>(PyDescr_NewMethod(of, &method));
}

} // namespace edgeguard
