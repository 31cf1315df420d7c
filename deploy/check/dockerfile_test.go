package check

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// step is an instruction of a Dockerfile: its name, its flags (--from=build is from: build), and the rest. Words are the
// rest as a JSON array of strings, nil if it is none.
type step struct {
	name  string
	flags map[string]string
	rest  string
	words []string
}

// stage is a part of a Dockerfile from one FROM to the next.
type stage struct {
	base, name string
	steps      []step
}

// last is the last step of that name, the one that counts.
func (s stage) last(t *testing.T, name string) step {
	for _, x := range slices.Backward(s.steps) {
		if x.name == name {
			return x
		}
	}
	require.Fail(t, "there is no "+name)
	return step{}
}

// flagsOf are the instructions, each with the flags that it takes (docs.docker.com/reference/dockerfile).
var flagsOf = map[string]string{
	"ADD": "keep-git-dir checksum chown chmod link unpack exclude", "ARG": "", "CMD": "", "COPY": "from chown chmod link parents exclude",
	"ENTRYPOINT": "", "ENV": "", "EXPOSE": "", "FROM": "platform", "HEALTHCHECK": "interval timeout start-period start-interval retries",
	"LABEL": "", "ONBUILD": "", "RUN": "mount network security device", "SHELL": "", "STOPSIGNAL": "", "USER": "", "VOLUME": "", "WORKDIR": "",
}

var (
	flag     = regexp.MustCompile(`^--([a-z-]+)(?:=(\S+))?(?:\s+|$)`)
	from     = regexp.MustCompile(`^(\S+)(?: AS ([a-z][a-z0-9_.-]*))?$`)
	port     = regexp.MustCompile(`^\d{1,5}(-\d{1,5})?(/(tcp|udp|sctp))?$`)
	argument = regexp.MustCompile(`^[A-Za-z_]\w*(=("[^"]*"|\S*))?$`)
	setting  = regexp.MustCompile(`^([\w.-]+=("[^"]*"|\S+))( +[\w.-]+=("[^"]*"|\S+))*$`)
	duration = regexp.MustCompile(`^(\d+(ms|s|m|h))+$`)
	signal   = regexp.MustCompile(`^(SIG[A-Z]+|\d+)$`)
	user     = regexp.MustCompile(`^[\w-]+(:[\w-]+)?$`)
)

// lines joins what a backslash continues, and leaves comments out.
func lines(text string) (all []string, err error) {
	open := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
			continue
		case line == "" && open != "":
			return nil, fmt.Errorf("line %d: an empty line within an instruction", i+1)
		case line == "":
			continue
		}
		body, goesOn := strings.CutSuffix(line, `\`)
		open += body
		if !goesOn {
			all, open = append(all, open), ""
		}
	}
	if open != "" {
		return nil, fmt.Errorf("the last line goes on")
	}
	return all, nil
}

// readStep reads an instruction. What Docker warns about is an error too.
func readStep(line string) (s step, err error) {
	name, rest, _ := strings.Cut(line, " ")
	known, ok := flagsOf[name]
	if !ok {
		return s, fmt.Errorf("no instruction: %q (in capitals)", name)
	}
	s = step{name: name, flags: map[string]string{}, rest: strings.TrimSpace(rest)}
	for m := flag.FindStringSubmatch(s.rest); m != nil; m = flag.FindStringSubmatch(s.rest) {
		if !slices.Contains(strings.Fields(known), m[1]) {
			return s, fmt.Errorf("%s has no flag --%s", name, m[1])
		}
		if _, twice := s.flags[m[1]]; twice {
			return s, fmt.Errorf("%s has --%s twice", name, m[1])
		}
		if m[2] == "" && m[1] != "link" && m[1] != "parents" {
			return s, fmt.Errorf("%s: --%s has no value", name, m[1])
		}
		s.flags[m[1]] = m[2]
		s.rest = strings.TrimSpace(s.rest[len(m[0]):])
	}
	if s.rest == "" || strings.HasPrefix(s.rest, "--") {
		return s, fmt.Errorf("%s says nothing: %q", name, s.rest)
	}
	asked := s.rest
	if name == "HEALTHCHECK" {
		for f, v := range s.flags {
			if f != "retries" && !duration.MatchString(v) {
				return s, fmt.Errorf("%s: --%s=%s is no duration", name, f, v)
			}
		}
		if asked, ok = strings.CutPrefix(s.rest, "CMD "); !ok {
			return s, fmt.Errorf("%s is none of a command", name)
		}
	}
	if strings.HasPrefix(asked, "[") {
		if err := json.Unmarshal([]byte(asked), &s.words); err != nil {
			return s, fmt.Errorf("%s: %s: %w", name, asked, err)
		}
	}
	return s, s.check()
}

// check looks at what the instruction says.
func (s step) check() error {
	ok := true
	switch s.name {
	case "CMD", "ENTRYPOINT", "HEALTHCHECK", "SHELL":
		ok = len(s.words) > 0 // there is no shell that could read words without brackets
	case "WORKDIR":
		ok = path.IsAbs(s.rest)
	case "VOLUME":
		ok = path.IsAbs(s.rest) || len(s.words) > 0
	case "EXPOSE":
		for _, p := range strings.Fields(s.rest) {
			ok = ok && port.MatchString(p)
		}
	case "ARG":
		ok = argument.MatchString(s.rest)
	case "ENV", "LABEL":
		ok = setting.MatchString(s.rest)
	case "STOPSIGNAL":
		ok = signal.MatchString(s.rest)
	case "USER":
		ok = user.MatchString(s.rest)
	case "COPY", "ADD":
		files := strings.Fields(s.rest)
		ok = len(files) > 1 && (len(files) == 2 || strings.HasSuffix(files[len(files)-1], "/")) // many go into a folder
	}
	if !ok {
		return fmt.Errorf("%s: %s", s.name, s.rest)
	}
	return nil
}

// readDockerfile reads the stages of a Dockerfile. It refuses what Docker would, and what its linter warns about, as far as
// our file could have it. A stage can copy from those above it only.
func readDockerfile(text string) (all []stage, err error) {
	every, err := lines(text)
	if err != nil {
		return nil, err
	}
	for _, line := range every {
		s, err := readStep(line)
		if err != nil {
			return nil, err
		}
		if s.name == "FROM" {
			m := from.FindStringSubmatch(s.rest)
			if m == nil || m[2] == "scratch" {
				return nil, fmt.Errorf("FROM: %s", s.rest)
			}
			if slices.ContainsFunc(all, func(a stage) bool { return a.name != "" && a.name == m[2] }) {
				return nil, fmt.Errorf("two stages are named %s", m[2])
			}
			all = append(all, stage{base: m[1], name: m[2]})
			continue
		}
		if len(all) == 0 {
			if s.name != "ARG" {
				return nil, fmt.Errorf("%s stands before the first FROM", s.name)
			}
			continue
		}
		now := &all[len(all)-1]
		if of, ok := s.flags["from"]; ok && !slices.ContainsFunc(all[:len(all)-1], func(a stage) bool { return a.name == of }) {
			return nil, fmt.Errorf("COPY from %s, which is no stage above", of)
		}
		switch s.name {
		case "CMD", "ENTRYPOINT", "HEALTHCHECK":
			if slices.ContainsFunc(now.steps, func(o step) bool { return o.name == s.name }) {
				return nil, fmt.Errorf("a stage has two of %s", s.name)
			}
		case "RUN":
			if now.base == "scratch" {
				return nil, fmt.Errorf("RUN where there is no shell")
			}
		}
		now.steps = append(now.steps, s)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no FROM")
	}
	return all, nil
}

func TestTheDockerfileIsInOrder(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile")
	require.NoError(t, err)
	stages, err := readDockerfile(string(text))
	require.NoError(t, err)
	require.Len(t, stages, 2)
	for _, s := range stages[0].steps {
		if s.name != "COPY" {
			continue
		}
		sources := strings.Fields(s.rest)
		for _, file := range sources[:len(sources)-1] {
			_, err := os.Stat(path.Join("../..", file))
			require.NoError(t, err)
		}
	}
	module, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	minor := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(module))
	require.Equal(t, "golang:"+minor[1], stages[0].base, "the image has the Go that go.mod asks for")

	image := stages[1]
	require.Equal(t, "scratch", image.base)
	require.Equal(t, "65532:65532", image.last(t, "USER").rest)
	require.Equal(t, "/data", image.last(t, "VOLUME").rest)
	owned := false
	for _, s := range image.steps {
		require.False(t, s.name == "COPY" && s.flags["from"] != stages[0].name)
		owned = owned || s.flags["chown"] == "65532:65532" && strings.HasSuffix(s.rest, " /data")
	}
	require.True(t, owned, "the user may write into the volume")
	require.Equal(t, []string{"/server"}, image.last(t, "ENTRYPOINT").words)
	require.NotEmpty(t, image.last(t, "CMD").words)
	require.Equal(t, "/raftpico", image.last(t, "HEALTHCHECK").words[0])
}

func TestFaultsOfADockerfileAreFound(t *testing.T) {
	const good = "FROM golang:1.26 AS build\nWORKDIR /src\nRUN go build \\\n  # a comment\n  -o /out/a .\nFROM scratch\n" +
		"COPY --from=build /out/a /\nEXPOSE 4000\nHEALTHCHECK --interval=1s CMD [\"/a\"]\nENTRYPOINT [\"/a\"]\n"
	stages, err := readDockerfile(good)
	require.NoError(t, err)
	require.Len(t, stages, 2)
	require.Equal(t, "go build -o /out/a .", stages[0].steps[1].rest)
	for old, news := range map[string][]string{
		"FROM golang:1.26 AS build": {"FROM golang:1.26 as build", "FROM golang:1.26 AS Build", "FROM", "FROM a b", "RUN a", ""},
		"WORKDIR /src":              {"WORKDIR src", "WORKDR /src", "workdir /src", "WORKDIR", "ENV A b", "ARG A B", "MAINTAINER me"},
		"# a comment":               {""},
		"FROM scratch":              {"FROM scratch AS build", "FROM scratch AS scratch", "FROM scratch\nRUN a"},
		"--from=build":              {"--from=biuld", "--form=build", "--from=", "--from=build --from=build"},
		"/out/a /\n":                {"/\n", "/out/a /out/b /out\n"},
		"EXPOSE 4000":               {"EXPOSE four", "EXPOSE 4000,5000", "USER a b", "STOPSIGNAL TERM", "VOLUME data"},
		"--interval=1s":             {"--interval=1", "--intervall=1s"},
		`CMD ["/a"]`:                {`["/a"]`, "CMD /a", `CMD ['/a']`},
		`ENTRYPOINT ["/a"]`:         {"ENTRYPOINT /a", `ENTRYPOINT ["/a"`, `ENTRYPOINT [/a]`, "ENTRYPOINT []", "ENTRYPOINT [\"/a\"]\nENTRYPOINT [\"/b\"]", `ENTRYPOINT \`},
	} {
		require.Contains(t, good, old)
		for _, bad := range news {
			_, err := readDockerfile(strings.Replace(good, old, bad, 1))
			require.Error(t, err, "%s -> %s", old, bad)
		}
	}
}
