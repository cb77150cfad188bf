/*
 * The state file: encode, decode, lock, replace.
 *
 * Replacement: write FILE.tmp, fsync it, rename over FILE, fsync the directory. At every instant FILE is either the old or
 * the new content; the order is what makes it so, and tests/unit/posix/test_state_file.c watches it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "state_file.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC     "mlstate1"
#define MAGIC_LEN 8
#define VERSION   1
#define PATH_CAP  4096

static const struct ml_state_file_ops system_ops = {write, fsync, rename};

static void explain(char *why, size_t cap, const char *path, const char *what)
{
    if (cap > 0) {
        snprintf(why, cap, "state file %s: %s", path, what);
    }
}

bool ml_state_file_decode(struct ml_state_file *s, const uint8_t *buf, size_t len)
{
    struct ml_reader r = ml_reader_of(buf, len);
    const uint8_t *magic = ml_read_bytes(&r, MAGIC_LEN);
    if (magic == NULL || memcmp(magic, MAGIC, MAGIC_LEN) != 0 || ml_read_be32(&r) != VERSION || r.bad) {
        return false;
    }
    const uint8_t *data[ML_STORE_COUNT];
    uint16_t data_len[ML_STORE_COUNT];
    for (size_t i = 0; i < ML_STORE_COUNT; i++) {
        data_len[i] = ml_read_be16(&r);
        data[i] = data_len[i] <= ML_STORE_MAX ? ml_read_bytes(&r, data_len[i]) : NULL;
        if (r.bad || data[i] == NULL) {
            return false;
        }
    }
    uint8_t sum[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(sum, buf, r.pos);
    const uint8_t *want = ml_read_bytes(&r, sizeof sum);
    if (want == NULL || ml_reader_left(&r) != 0 || memcmp(sum, want, sizeof sum) != 0) {
        return false;
    }
    for (size_t i = 0; i < ML_STORE_COUNT; i++) {
        s->record[i].len = data_len[i];
        memcpy(s->record[i].buf, data[i], data_len[i]);
    }
    return true;
}

size_t ml_state_file_encode(const struct ml_state_file *s, uint8_t *buf)
{
    struct ml_writer w = ml_writer_of(buf, ML_STATE_FILE_MAX);
    ml_write_bytes(&w, MAGIC, MAGIC_LEN);
    ml_write_be32(&w, VERSION);
    for (size_t i = 0; i < ML_STORE_COUNT; i++) {
        ml_write_be16(&w, s->record[i].len);
        ml_write_bytes(&w, s->record[i].buf, s->record[i].len);
    }
    uint8_t sum[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(sum, buf, w.len);
    ml_write_bytes(&w, sum, sizeof sum);
    return w.len;
}

static void wipe_records(struct ml_state_file *s)
{
    sodium_memzero(s->record, sizeof s->record);
}

/** mkdir -p for the directory part. */
static int make_parents(const char *path)
{
    char dir[PATH_CAP];
    int n = snprintf(dir, sizeof dir, "%s", path);
    if (n < 0 || (size_t)n >= sizeof dir) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (char *p = dir + 1; *p; p++) {
        if (*p == '/') {
            *p = 0;
            if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
                return -1;
            }
            *p = '/';
        }
    }
    return 0;
}

static int take_lock(const char *path)
{
    char name[PATH_CAP];
    snprintf(name, sizeof name, "%s.lock", path);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

/** Renames the unusable file to the first free FILE.corrupt-<n>. */
static bool move_aside(struct ml_state_file *s, char *why, size_t cap)
{
    char to[PATH_CAP];
    for (unsigned n = 1; n < 1000; n++) {
        snprintf(to, sizeof to, "%s.corrupt-%u", s->path, n);
        if (link(s->path, to) == 0) { /* Unlike rename(), link() never replaces an earlier one. */
            if (unlink(s->path) != 0) {
                break;
            }
            if (cap > 0) {
                snprintf(why, cap, "state file %s is torn or not ours: kept as %s; this node starts with a new identity",
                         s->path, to);
            }
            return true;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    explain(why, cap, s->path, "torn or not ours, and it could not be moved aside");
    return false;
}

static ml_err read_file(struct ml_state_file *s, char *why, size_t cap)
{
    int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) {
            s->found = ML_STATE_FOUND_NONE;
            return ML_OK;
        }
        explain(why, cap, s->path, strerror(errno));
        return ML_ERR_NOT_FOUND;
    }
    uint8_t buf[ML_STATE_FILE_MAX + 1]; /* One more, so that trailing bytes are seen. */
    size_t len = 0;
    ssize_t n = 1;
    while (n > 0 && len < sizeof buf) {
        n = read(fd, buf + len, sizeof buf - len);
        len += n > 0 ? (size_t)n : 0;
    }
    int e = errno;
    close(fd);
    ml_err err = ML_OK;
    if (n < 0) {
        explain(why, cap, s->path, strerror(e));
        err = ML_ERR_NOT_FOUND;
    } else if (ml_state_file_decode(s, buf, len)) {
        s->found = ML_STATE_FOUND_OK;
    } else {
        s->found = ML_STATE_FOUND_CORRUPT;
        err = move_aside(s, why, cap) ? ML_OK : ML_ERR_CORRUPT;
    }
    sodium_memzero(buf, sizeof buf);
    return err;
}

ml_err ml_state_file_open(struct ml_state_file *s, const char *path, const struct ml_state_file_ops *ops, char *why,
                          size_t why_cap)
{
    *s = (struct ml_state_file){.lock_fd = -1, .ops = ops ? ops : &system_ops};
    if (why_cap > 0) {
        why[0] = 0;
    }
    if (path == NULL || strcmp(path, "mem:") == 0) {
        return ML_OK;
    }
    if (strlen(path) > PATH_CAP - 32 || make_parents(path) != 0) {
        explain(why, why_cap, path, strerror(strlen(path) > PATH_CAP - 32 ? ENAMETOOLONG : errno));
        return ML_ERR_NOT_FOUND;
    }
    s->lock_fd = take_lock(path);
    if (s->lock_fd < 0) {
        bool busy = errno == EWOULDBLOCK;
        explain(why, why_cap, path, busy ? "another microlink uses it" : strerror(errno));
        return busy ? ML_ERR_STATE : ML_ERR_NOT_FOUND;
    }
    s->path = strdup(path);
    ml_err err = s->path ? read_file(s, why, why_cap) : ML_ERR_NO_MEM;
    if (err != ML_OK) {
        ml_state_file_close(s);
    }
    return err;
}

void ml_state_file_close(struct ml_state_file *s)
{
    wipe_records(s);
    free(s->path);
    s->path = NULL;
    if (s->ops && s->lock_fd >= 0) {
        close(s->lock_fd);
    }
    s->lock_fd = -1;
}

ml_err ml_state_file_load(const struct ml_state_file *s, ml_store_kind kind, uint8_t *buf, size_t cap, size_t *len)
{
    if (s->record[kind].len == 0) {
        return ML_ERR_NOT_FOUND;
    }
    if (s->record[kind].len > cap) {
        return ML_ERR_ARG;
    }
    memcpy(buf, s->record[kind].buf, s->record[kind].len);
    *len = s->record[kind].len;
    return ML_OK;
}

/** fsync of the directory makes the rename durable. */
static int sync_dir(const struct ml_state_file *s)
{
    char dir[PATH_CAP];
    snprintf(dir, sizeof dir, "%s", s->path);
    char *slash = strrchr(dir, '/');
    if (slash == NULL) {
        strcpy(dir, ".");
    } else {
        slash[slash == dir ? 1 : 0] = 0;
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int r = s->ops->fsync(fd);
    close(fd);
    return r;
}

static bool write_all(const struct ml_state_file *s, int fd, const uint8_t *buf, size_t len)
{
    while (len > 0) {
        ssize_t n = s->ops->write(fd, buf, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        buf += n;
        len -= (size_t)n;
    }
    return true;
}

static ml_err replace_file(struct ml_state_file *s, char *why, size_t cap)
{
    if (s->path == NULL) {
        return ML_OK;
    }
    char tmp[PATH_CAP];
    snprintf(tmp, sizeof tmp, "%s.tmp", s->path);
    uint8_t buf[ML_STATE_FILE_MAX];
    size_t len = ml_state_file_encode(s, buf);
    unlink(tmp); /* What a power cut left behind; O_EXCL then keeps a planted link from being followed. */
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write_all(s, fd, buf, len) && s->ops->fsync(fd) == 0;
    sodium_memzero(buf, sizeof buf);
    int e = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (ok && s->ops->rename(tmp, s->path) != 0) {
        ok = false;
        e = errno;
    }
    if (!ok) {
        unlink(tmp);
        explain(why, cap, s->path, strerror(e));
        return ML_ERR_NOT_FOUND;
    }
    if (sync_dir(s) != 0) {
        explain(why, cap, s->path, "written, but the directory could not be synced");
        return ML_ERR_NOT_FOUND;
    }
    return ML_OK;
}

ml_err ml_state_file_save(struct ml_state_file *s, ml_store_kind kind, const uint8_t *buf, size_t len, char *why,
                          size_t why_cap)
{
    if ((unsigned)kind >= ML_STORE_COUNT || len > ML_STORE_MAX) {
        return ML_ERR_ARG;
    }
    memcpy(s->record[kind].buf, buf, len);
    s->record[kind].len = (uint16_t)len;
    return replace_file(s, why, why_cap);
}

ml_err ml_state_file_erase(struct ml_state_file *s, char *why, size_t why_cap)
{
    wipe_records(s);
    return replace_file(s, why, why_cap);
}
