// SPDX-License-Identifier: Apache-2.0

package uci

import (
	"errors"
	"strconv"
	"strings"
)

// Origin names the UCI option that a line of Import's TOML came from (lines count from 1), "" if there is none.
func Origin(toml []byte, line int) string {
	lines := strings.Split(string(toml), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	_, origin, ok := strings.Cut(lines[line-1], " # ")
	for ok { // a value may hold " # " itself: the comment is the last
		last := origin
		if _, origin, ok = strings.Cut(origin, " # "); !ok {
			return last
		}
	}
	return ""
}

// Explain puts UCI's names into errors about the TOML that Import made: of lines "FILE:LINE: KEY: what is wrong" it makes
// "PATH: PACKAGE.SECTION.OPTION: what is wrong". Lines of another form stay as they are.
func Explain(toml []byte, path string, err error) error {
	if err == nil {
		return nil
	}
	var lines []string
	for _, l := range strings.Split(err.Error(), "\n") {
		lines = append(lines, explainLine(toml, path, l))
	}
	return errors.New(strings.Join(lines, "\n"))
}

func explainLine(toml []byte, path, line string) string {
	rest := line
	for {
		i := strings.IndexByte(rest, ':')
		if i < 0 {
			return line
		}
		rest = rest[i+1:]
		number, after, ok := strings.Cut(rest, ": ")
		if !ok {
			return line
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		origin := Origin(toml, n)
		if origin == "" {
			return line
		}
		return path + ": " + withKey(origin, after)
	}
}

// withKey joins the option's name and the error's text. Where the key at fault has no line of its own (it is missing),
// the section's line stands for it, and the key's last part is the option.
func withKey(origin, text string) string {
	key, what, ok := strings.Cut(text, ": ")
	if !ok {
		return origin + ": " + text
	}
	option := key[strings.LastIndexByte(key, '.')+1:]
	if strings.Count(origin, ".") == 1 && validName(option) && option != key {
		origin += "." + option
	}
	return origin + ": " + what
}
