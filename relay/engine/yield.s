// SPDX-License-Identifier: Apache-2.0

// Empty: with an assembly file the compiler takes a function without a body, which is linked elsewhere (yield.go).
