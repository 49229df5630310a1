/* Keeping the memory of a gateway that waits small: there is one for each running task. */
#ifndef CODEX_GATEWAY_FOOTPRINT_H
#define CODEX_GATEWAY_FOOTPRINT_H

/* Once, first of all: large buffers go back to the system as soon as they are freed. */
void footprint_init(void);

/* Give back what only the start needed: the code and tables of some thirty libraries that libcurl
 * brings, and free memory. What is used again comes from the page cache. */
void footprint_trim(void);

#endif
