/*
 * Errors that travel up the call chain.
 *
 * A function that can fail returns 0 (or a useful non-negative value) on success and a negative
 * code on failure: -errno, or one of the ERR_ codes below. Its last argument is a struct err that
 * it fills with one line for a person. Callers add context on the way up; only the top logs.
 *
 * Messages read like git's: "cannot open 'x': No such file or directory". No capital, no period.
 */
#ifndef CODEX_BASE_ERR_H
#define CODEX_BASE_ERR_H

enum {
    ERR_USAGE = -2001,     /* the caller's input is wrong */
    ERR_NOT_FOUND = -2002, /* the named thing does not exist */
    ERR_REFUSED = -2003,   /* policy, permission or state says no */
    ERR_NO_SERVER = -2004, /* nobody answers at the socket */
    ERR_PROTOCOL = -2005,  /* the peer sent something malformed */
    ERR_LIMIT = -2006,     /* a bound of ours was reached */
    ERR_SANDBOX = -2007,   /* the sandbox could not be had */
    ERR_CONFLICT = -2008,  /* the state changed under the caller (an old fence) */
    ERR_KILLED = -2009,    /* somebody else killed a process that we need, by SIGKILL */
};

struct err {
    int code;
    char message[768];
};

/* Fill ERR (NULL allowed) and return CODE, so that one can write `return err_set(...)`. */
int err_set(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with errno as the code and ": strerror(errno)" behind the message. */
int err_errno(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put "context: " before the message that ERR already holds; returns ERR's code. */
int err_context(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Print "WHO: message" to standard error as one line, whatever bytes are in it: control characters
 * become '?'. For the top of a program that has no log. */
void err_print(const struct err *err, const char *who);

#endif
