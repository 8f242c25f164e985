// The table of kernels, in the instructions of the file that includes this.
#pragma once
#include "aliked.hpp"
#include "deform.hpp"
#include "describe.hpp"
#include "disk.hpp"
#include "maxima.hpp"
#include "superpoint.hpp"

namespace {

constexpr photoglue::ExtractKernels KERNELS = {pack, first_block, second_block, score_head, deform, describe, maxima, convolve,
                                               opening, pointwise, disk_conv, disk_first, moments, disk_logits, disk_describe};

}  // namespace
