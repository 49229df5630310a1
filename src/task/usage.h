/* What a model's answers cost, in tokens: of one response, of a run, of a task. */
#ifndef CODEX_TASK_USAGE_H
#define CODEX_TASK_USAGE_H

#include <stdint.h>

struct token_usage {
    int64_t input_tokens, cached_input_tokens, output_tokens, reasoning_output_tokens;
};

#endif
