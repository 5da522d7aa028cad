// The border to Python, class by class.
#pragma once

#include <nanobind/nanobind.h>

void bind_recurrence(nanobind::module_& m);
