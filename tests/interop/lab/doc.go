// Package lab measures paths beside the official node: every pair of situations two nodes can be in, the silence after every
// change, and what an idle node sends. Each figure of ours has the official one from the same run beside it. tests/lab/run.sh
// runs all of it and writes docs/nat-matrix.md; `go test ./lab -run Quick` is the part that fits into a gate.
//
// The tests write what they measured to <test>.json in the folder LAB_OUT names, if it names one.
//
// SPDX-License-Identifier: MIT
package lab
