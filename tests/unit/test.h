/* What every unit test includes: cmocka and the headers that it wants before it. */
#ifndef CODEX_TESTS_UNIT_TEST_H
#define CODEX_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#endif
