/*
 * What git puts in the place of the pointers of Git LFS, and back: `codex-agent large-files`, the filter
 * `lfs` of a workspace, by gitattributes(5), "Long Running Filter Process". git-lfs is not in every image,
 * and has no way to say that a content is not here: it leaves an empty file.
 */
#ifndef CODEX_WORKSPACE_LARGE_FILTER_H
#define CODEX_WORKSPACE_LARGE_FILTER_H

/* As a row of codex-agent's table. */
int large_filter_main(int argc, char **argv);

#endif
