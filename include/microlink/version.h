/* The one version number. SPDX-License-Identifier: MIT */
#ifndef MICROLINK_VERSION_H
#define MICROLINK_VERSION_H

#define MICROLINK_VERSION_MAJOR 0
#define MICROLINK_VERSION_MINOR 1
#define MICROLINK_VERSION_PATCH 0
#define MICROLINK_VERSION       "0.1.0"

#endif
