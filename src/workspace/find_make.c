#include "base/cleanup.h"
#include "workspace/find_each.h"
#include "workspace/makefile.h"

void find_make(const struct find_input *input, struct test_plan *plan)
{
    static const char *const targets[] = {"test", "check"};
    AUTO_BUF struct buf text;
    buf_init(&text, MAKEFILE_MAX);
    bool found = makefile_read(input->dir, &text);
    for (size_t i = 0; found && !plan->found && i < sizeof targets / sizeof targets[0]; i++)
        if (makefile_has_target(text.data, targets[i])) {
            plan->found = "Makefile";
            test_plan_add(plan, "make", targets[i], NULL);
        }
}
