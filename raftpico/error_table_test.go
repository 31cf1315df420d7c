package raftpico_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
)

// errorTable is the file of testdata/wire that is no conversation.
const errorTable = "errors.txt"

// firstOwn is the first code that is a machine's own.
const firstOwn = 1000

// errorRow is a row of it.
type errorRow struct {
	code                int
	message, name, safe string
}

var errorRows = sync.OnceValues(func() (rows []errorRow, err error) {
	text, err := os.ReadFile("../testdata/wire/" + errorTable)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		cells := regexp.MustCompile(` {2,}`).Split(strings.TrimSpace(line), 4)
		code, err := strconv.Atoi(cells[0])
		if err != nil {
			return nil, err
		}
		rows = append(rows, errorRow{code, cells[1], cells[2], cells[3]})
	}
	return rows, nil
})

// theErrorTable returns its rows, and those of codes that are not a machine's own by code.
func theErrorTable(t *testing.T) (rows []errorRow, byCode map[int]errorRow) {
	t.Helper()
	rows, err := errorRows()
	require.NoError(t, err)
	byCode = map[int]errorRow{}
	for _, row := range rows {
		byCode[row.code] = row
	}
	require.Len(t, byCode, len(rows), "a code comes twice")
	return rows, byCode
}

func TestErrorTableIsWhatGoExports(t *testing.T) {
	t.Parallel()
	exported := map[string]*jsonrpc.Error{
		"raftpico.ErrClusterExists": raftpico.ErrClusterExists, "raftpico.ErrServerExists": raftpico.ErrServerExists,
		"raftpico.ErrNotMember": raftpico.ErrNotMember, "raftpico.ErrInvalidInput": raftpico.ErrInvalidInput,
		"raftpico.ErrInvalidOutput": raftpico.ErrInvalidOutput, "raftpico.ErrNoOutput": raftpico.ErrNoOutput,
		"raftpico.ErrRejected": raftpico.ErrRejected, "raftpico.ErrUnknown": raftpico.ErrUnknown,
		"raftpico.ErrNoLeader": raftpico.ErrNoLeader, "raftpico.ErrUnreachable": raftpico.ErrUnreachable,
		"raftpico.ErrBusy": raftpico.ErrBusy, "raftpico.ErrSessionEnded": raftpico.ErrSessionEnded,
		"raftpico.ErrLastServer": raftpico.ErrLastServer, "raftpico.ErrNotPermitted": raftpico.ErrNotPermitted,
		"jsonrpc.ErrParse": jsonrpc.ErrParse, "jsonrpc.ErrInvalidRequest": jsonrpc.ErrInvalidRequest,
		"jsonrpc.ErrMethodNotFound": jsonrpc.ErrMethodNotFound, "raftpico.ErrInvalidParams": raftpico.ErrInvalidParams,
		"jsonrpc.ErrInternal": jsonrpc.ErrInternal,
	}
	rows, _ := theErrorTable(t)
	named := map[string]bool{}
	for _, row := range rows {
		if row.code >= firstOwn {
			continue
		}
		named[row.name] = true
		err := exported[row.name]
		require.NotNil(t, err, row.name)
		require.Equal(t, row.code, err.Code, row.name)
		require.Equal(t, row.message, err.Message, row.name)
	}
	require.Len(t, named, len(exported))
	for _, name := range errorsDeclared(t, ".") {
		if name != "ErrUnencodable" && name != "ErrUndecodable" { // no server has answered them: they have no code
			require.Contains(t, named, "raftpico."+name, "it is exported, but has no row")
		}
	}
}

// errorsDeclared names the exported variables of a package that are errors by their names.
func errorsDeclared(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range parsed.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	require.NotEmpty(t, names)
	return names
}

// TestErrorTableIsWhatTheDocumentsSay finds the tables of errors in README.md and docs/ by their first two columns.
func TestErrorTableIsWhatTheDocumentsSay(t *testing.T) {
	t.Parallel()
	rows, byCode := theErrorTable(t)
	tables := 0
	documents := []string{"../README.md"}
	require.NoError(t, filepath.WalkDir("../docs", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			documents = append(documents, path)
		}
		return err
	}))
	for _, document := range documents {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		_, table, found := strings.Cut(string(text), "\n| code | message |")
		if !found {
			continue
		}
		tables++
		told := 0
		for line := range strings.Lines(table) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			for i, cell := range cells {
				cells[i] = strings.Trim(cell, " *`")
			}
			code, err := strconv.Atoi(strings.TrimPrefix(strings.Replace(cells[0], "−", "-", 1), "≥ "))
			switch {
			case strings.TrimSpace(line) == "":
				require.Equal(t, len(rows), told, "%s: rows", document)
			case err == nil:
				told++
				require.Equal(t, byCode[code].message, cells[1], "%s: row %d", document, code)
				require.Equal(t, byCode[code].safe, strings.ReplaceAll(cells[len(cells)-1], "*", ""), "%s: row %d, nothing has changed?", document, code)
				continue
			default:
				continue // the rest of the head
			}
			break
		}
	}
	require.Positive(t, tables, "no table of errors begins with | code | message | in %v", documents)
}

// TestEachErrorHasAnExchange holds the conversations to the table, both ways.
func TestEachErrorHasAnExchange(t *testing.T) {
	t.Parallel()
	rows, byCode := theErrorTable(t)
	files, err := filepath.Glob("../testdata/wire/*.txt")
	require.NoError(t, err)
	seen := map[int]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`"error":\{"code":(-?\d+),"message":"([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
			code, err := strconv.Atoi(m[1])
			require.NoError(t, err)
			if seen[min(code, firstOwn)] = true; code < firstOwn {
				require.Equal(t, byCode[code].message, m[2], "%s: code %d", file, code)
			}
		}
	}
	for _, row := range rows {
		require.True(t, seen[row.code], "no exchange shows %d %s", row.code, row.message)
	}
	require.Len(t, seen, len(rows))
}
