# SPDX-License-Identifier: Apache-2.0
"""The model zoo: how the reference models in ``models/gtsrb`` are trained, quantized and measured.

``train(name, data_dir, out_dir)`` makes one of them again, ``evaluate(data_dir)`` prints
what they are worth. Both import torch only when they are called.
"""
