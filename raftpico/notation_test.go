package raftpico_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-json"
)

// What the lines of testdata/wire mean.

// join puts together Go strings, each of which may be followed by how often it stands there.
func join(pieces string) (string, error) {
	var text strings.Builder
	for pieces = strings.TrimSpace(pieces); pieces != ""; {
		quoted, err := strconv.QuotedPrefix(pieces)
		if err != nil {
			return "", fmt.Errorf("%.40s: %w", pieces, err)
		}
		piece, err := strconv.Unquote(quoted)
		if err != nil {
			return "", err
		}
		pieces = strings.TrimSpace(pieces[len(quoted):])
		times := 1
		if digits := len(pieces) - len(strings.TrimLeft(pieces, "0123456789")); digits > 0 {
			if times, err = strconv.Atoi(pieces[:digits]); err != nil {
				return "", err
			}
			pieces = strings.TrimSpace(pieces[digits:])
		}
		text.WriteString(strings.Repeat(piece, times))
	}
	return text.String(), nil
}

// answer is one line: patterns, one, or those of a batch in any order.
type answer struct {
	patterns []string
	batch    bool
}

// answersOf takes together the lines of batches, from [ to ].
func answersOf(told []string) (answers []answer) {
	open := false
	for _, text := range told {
		switch last := len(answers) - 1; {
		case text == "[":
			answers, open = append(answers, answer{batch: true}), true
		case text == "]":
			open = false
		case open:
			answers[last].patterns = append(answers[last].patterns, strings.TrimSpace(text))
		default:
			answers = append(answers, answer{patterns: []string{text}})
		}
	}
	return answers
}

func (a answer) is(line string) bool {
	if !a.batch {
		return matches(a.patterns[0], line)
	}
	got, err := elements(line)
	if err != nil || len(got) != len(a.patterns) {
		return false
	}
	for _, pattern := range a.patterns {
		i := slices.IndexFunc(got, func(element string) bool { return matches(pattern, element) })
		if i < 0 {
			return false
		}
		got = slices.Delete(got, i, i+1)
	}
	return true
}

// matches tells whether a line is as told, where … is anything.
func matches(pattern, line string) bool {
	if !strings.Contains(pattern, "…") {
		return pattern == line
	}
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), "…", ".*") + "$").MatchString(line)
}

// elements takes an array apart.
func elements(line string) (texts []string, err error) {
	var values []json.RawMessage
	err = json.Unmarshal([]byte(line), &values)
	for _, v := range values {
		texts = append(texts, string(v))
	}
	return texts, err
}
