// Which of the compiled kernels this machine can run, and which it runs.
#pragma once

#include <string>
#include <vector>

#include "layouts/kernels.h"

namespace sparse {

std::vector<const Kernels*> paths();  // usable here, narrowest first
const Kernels& active();  // the fastest unless another one was selected
void select(const std::string& name);  // std::invalid_argument unless it is one of paths()

}  // namespace sparse
