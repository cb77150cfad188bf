/*
 * The state file: what a power cut, a foreign file, a second process or a full disk may do to it, and what they may not.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[128];
static char why[400];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/ml-state-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/deep/er/state", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd);
}

static size_t slurp(const char *p, uint8_t *buf, size_t cap)
{
    FILE *f = fopen(p, "rb");
    assert_non_null(f);
    size_t n = fread(buf, 1, cap, f);
    fclose(f);
    return n;
}

static void put(const char *p, const uint8_t *buf, size_t len)
{
    FILE *f = fopen(p, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(buf, 1, len, f), len);
    fclose(f);
}

static void fill(struct ml_state_file *s)
{
    static const uint8_t id[] = "identity record", clock[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    assert_int_equal(ml_state_file_save(s, ML_STORE_IDENTITY, id, sizeof id, why, sizeof why), ML_OK);
    assert_int_equal(ml_state_file_save(s, ML_STORE_CLOCK, clock, sizeof clock, why, sizeof why), ML_OK);
}

static void records_come_back_after_a_restart(void **state)
{
    (void)state;
    struct ml_state_file s;
    uint8_t buf[ML_STORE_MAX];
    size_t len = 0;
    assert_int_equal(ml_state_file_open(&s, path, NULL, why, sizeof why), ML_OK);
    assert_int_equal(s.found, ML_STATE_FOUND_NONE);
    assert_int_equal(ml_state_file_load(&s, ML_STORE_IDENTITY, buf, sizeof buf, &len), ML_ERR_NOT_FOUND);
    fill(&s);
    ml_state_file_close(&s);
    assert_int_equal(ml_state_file_open(&s, path, NULL, why, sizeof why), ML_OK);
    assert_int_equal(s.found, ML_STATE_FOUND_OK);
    assert_int_equal(ml_state_file_load(&s, ML_STORE_IDENTITY, buf, sizeof buf, &len), ML_OK);
    assert_int_equal(len, sizeof "identity record");
    assert_memory_equal(buf, "identity record", len);
    assert_int_equal(ml_state_file_load(&s, ML_STORE_CACHE, buf, sizeof buf, &len), ML_ERR_NOT_FOUND);
    assert_int_equal(ml_state_file_erase(&s, why, sizeof why), ML_OK);
    ml_state_file_close(&s);
    assert_int_equal(ml_state_file_open(&s, path, NULL, why, sizeof why), ML_OK);
    assert_int_equal(ml_state_file_load(&s, ML_STORE_IDENTITY, buf, sizeof buf, &len), ML_ERR_NOT_FOUND);
    ml_state_file_close(&s);
}

static void the_file_is_readable_by_its_owner_only(void **state)
{
    (void)state;
    struct ml_state_file s;
    struct stat st;
    mode_t old = umask(0);
    assert_int_equal(ml_state_file_open(&s, path, NULL, why, sizeof why), ML_OK);
    fill(&s);
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    ml_state_file_close(&s);
}

/** Torn at every length, and changed at every byte: each time it is seen, kept aside whole, and reported. */
static void a_file_torn_at_any_byte_is_kept_aside_and_reported(void **state)
{
    (void)state;
    struct ml_state_file s;
    uint8_t good[ML_STATE_FILE_MAX], bad[ML_STATE_FILE_MAX + 1], aside[ML_STATE_FILE_MAX + 1];
    assert_int_equal(ml_state_file_open(&s, path, NULL, why, sizeof why), ML_OK);
    fill(&s);
    ml_state_file_close(&s);
    size_t len = slurp(path, good, sizeof good);
    for (size_t i = 0; i < 2 * len + 1; i++) {
        size_t n = i < len ? i : i < 2 * len ? len : len + 1;
        memcpy(bad, good, len);
        bad[len] = 0;
        if (i >= len && i < 2 * len) {
            bad[i - len] ^= 0x40;
        }
        put(path, bad, n);
        assert_int_equal(ml_state_file_open(&s, path, NULL, why, sizeof why), ML_OK);
        assert_int_equal(s.found, ML_STATE_FOUND_CORRUPT);
        assert_int_equal(s.record[ML_STORE_IDENTITY].len, 0);
        char *name = strstr(why, path);
        name = name ? strstr(name + 1, path) : NULL; /* The second time with .corrupt-<n>. */
        assert_non_null(name);
        name[strcspn(name, ";")] = 0;
        assert_int_equal(slurp(name, aside, sizeof aside), n);
        assert_memory_equal(aside, bad, n);
        assert_int_equal(unlink(name), 0);
        assert_int_equal(access(path, F_OK), -1);
        ml_state_file_close(&s);
    }
}

static void a_second_corrupt_file_does_not_replace_the_first(void **state)
{
    (void)state;
    struct ml_state_file s;
    char first[160], second[160];
    uint8_t buf[8];
    assert_int_equal(ml_state_file_open(&s, path, NULL, why, sizeof why), ML_OK);
    ml_state_file_close(&s);
    for (int i = 0; i < 2; i++) {
        put(path, (const uint8_t *)(i ? "two" : "one"), 3);
        assert_int_equal(ml_state_file_open(&s, path, NULL, why, sizeof why), ML_OK);
        ml_state_file_close(&s);
    }
    snprintf(first, sizeof first, "%s.corrupt-1", path);
    snprintf(second, sizeof second, "%s.corrupt-2", path);
    assert_int_equal(slurp(first, buf, sizeof buf), 3);
    assert_memory_equal(buf, "one", 3);
    assert_int_equal(slurp(second, buf, sizeof buf), 3);
    assert_memory_equal(buf, "two", 3);
}

static void two_processes_cannot_share_one_state(void **state)
{
    (void)state;
    struct ml_state_file a, b;
    assert_int_equal(ml_state_file_open(&a, path, NULL, why, sizeof why), ML_OK);
    assert_int_equal(ml_state_file_open(&b, path, NULL, why, sizeof why), ML_ERR_STATE);
    assert_non_null(strstr(why, "another microlink"));
    ml_state_file_close(&a);
    assert_int_equal(ml_state_file_open(&b, path, NULL, why, sizeof why), ML_OK);
    ml_state_file_close(&b);
}

/* ---- Order of the calls, and each of them failing in turn ---- */

static char calls[64];
static int fail_at; /* The n-th call fails; 0 = none. */

static bool fails(char what)
{
    size_t n = strlen(calls);
    calls[n] = what;
    calls[n + 1] = 0;
    if (fail_at != 0 && (int)n + 1 == fail_at) {
        errno = ENOSPC;
        return true;
    }
    return false;
}

static ssize_t spy_write(int fd, const void *buf, size_t len)
{
    return fails('w') ? -1 : write(fd, buf, len);
}

static int spy_fsync(int fd)
{
    struct stat st;
    fstat(fd, &st);
    return fails(S_ISDIR(st.st_mode) ? 'd' : 'f') ? -1 : fsync(fd);
}

static int spy_rename(const char *from, const char *to)
{
    return fails('r') ? -1 : rename(from, to);
}

static const struct ml_state_file_ops spy = {spy_write, spy_fsync, spy_rename};

static void C74_data_is_synced_before_the_rename_and_the_directory_after(void **state)
{
    (void)state;
    struct ml_state_file s;
    fail_at = 0;
    calls[0] = 0;
    assert_int_equal(ml_state_file_open(&s, path, &spy, why, sizeof why), ML_OK);
    assert_int_equal(ml_state_file_save(&s, ML_STORE_CACHE, (const uint8_t *)"x", 1, why, sizeof why), ML_OK);
    assert_string_equal(calls, "wfrd");
    ml_state_file_close(&s);
}

static void C74_a_failure_at_any_step_leaves_the_old_or_the_new_state(void **state)
{
    (void)state;
    struct ml_state_file s;
    for (int n = 1; n <= 4; n++) {
        uint8_t buf[ML_STORE_MAX];
        size_t len = 0;
        fail_at = 0;
        calls[0] = 0;
        assert_int_equal(ml_state_file_open(&s, path, &spy, why, sizeof why), ML_OK);
        assert_int_equal(ml_state_file_save(&s, ML_STORE_CACHE, (const uint8_t *)"old", 3, why, sizeof why), ML_OK);
        calls[0] = 0;
        fail_at = n;
        assert_int_not_equal(ml_state_file_save(&s, ML_STORE_CACHE, (const uint8_t *)"newer", 5, why, sizeof why), ML_OK);
        assert_non_null(strstr(why, path));
        ml_state_file_close(&s);
        assert_int_equal(ml_state_file_open(&s, path, NULL, why, sizeof why), ML_OK);
        assert_int_equal(s.found, ML_STATE_FOUND_OK);
        assert_int_equal(ml_state_file_load(&s, ML_STORE_CACHE, buf, sizeof buf, &len), ML_OK);
        assert_true((len == 3 && memcmp(buf, "old", 3) == 0) || (n == 4 && len == 5 && memcmp(buf, "newer", 5) == 0));
        ml_state_file_close(&s);
    }
}

static void memory_only_state_touches_no_file(void **state)
{
    (void)state;
    struct ml_state_file s;
    uint8_t buf[8];
    size_t len = 0;
    assert_int_equal(ml_state_file_open(&s, "mem:", &spy, why, sizeof why), ML_OK);
    fail_at = 0;
    calls[0] = 0;
    assert_int_equal(ml_state_file_save(&s, ML_STORE_CACHE, (const uint8_t *)"x", 1, why, sizeof why), ML_OK);
    assert_string_equal(calls, "");
    assert_int_equal(ml_state_file_load(&s, ML_STORE_CACHE, buf, sizeof buf, &len), ML_OK);
    ml_state_file_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_come_back_after_a_restart, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(the_file_is_readable_by_its_owner_only, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_file_torn_at_any_byte_is_kept_aside_and_reported, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_second_corrupt_file_does_not_replace_the_first, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(two_processes_cannot_share_one_state, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(C74_data_is_synced_before_the_rename_and_the_directory_after, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(C74_a_failure_at_any_step_leaves_the_old_or_the_new_state, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(memory_only_state_touches_no_file, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
