/* codex: hand in tasks, watch them, take what they made. */
#include "base/process.h"
#include "cli/verb.h"

int main(int argc, char **argv)
{
    process_reserve_stdio();
    return cli_main(argc, argv);
}
