// SPDX-License-Identifier: Apache-2.0

// Without a file of this kind the compiler takes no declaration without a body (yield.go).
