// The table of kernels, in the instructions of the file that includes this.
#pragma once
#include "aliked.hpp"
#include "deform.hpp"
#include "describe.hpp"
#include "maxima.hpp"

namespace {

constexpr photoglue::ExtractKernels KERNELS = {pack, first_block, second_block, score_head, deform, describe, maxima};

}  // namespace
