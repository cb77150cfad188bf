// Empty: lets the compiler accept a function whose body comes by linkname. SPDX-License-Identifier: MIT
