#include "base/job_env.h"

#include <stddef.h>

const char *const job_env[] = {
    "CARGO_BUILD_JOBS",
    "CMAKE_BUILD_PARALLEL_LEVEL", /* `cmake --build` is not parallel without */
    "GOMAXPROCS",
    "OMP_NUM_THREADS",
    "PYTHON_CPU_COUNT", /* os.cpu_count() of Python 3.13 and later */
    NULL,
};
