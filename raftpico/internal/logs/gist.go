package logs

import "strings"

// Gist is a text without its digits. What differs only in a port or a time of day, from one try to the next, is the same fault,
// and is logged once.
func Gist(text string) string {
	return strings.Map(func(c rune) rune {
		if '0' <= c && c <= '9' {
			return -1
		}
		return c
	}, text)
}
