// SPDX-License-Identifier: MIT

// Package interop holds the tests against the official programs and packages. What needs network namespaces needs root; see
// the harness package.
package interop
