/* Declarations for a syntax check, see the README.md above. SPDX-License-Identifier: MIT */
#pragma once
typedef struct sys_sem *sys_sem_t;
sys_sem_t *sys_thread_sem_get(void);
#define LWIP_NETCONN_SEM_PER_THREAD   1
#define LWIP_NETCONN_THREAD_SEM_GET() sys_thread_sem_get()
