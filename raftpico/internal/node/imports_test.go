package node_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCoreHasNoWorld holds the core to what makes it repeatable: it imports nothing through which a goroutine, a
// clock, a socket, a file or chance could come in, starts no goroutine, and asks no clock.
func TestCoreHasNoWorld(t *testing.T) {
	allowed := map[string]bool{}
	for _, path := range strings.Fields(`bytes cmp container/heap container/list encoding/binary errors fmt hash/crc64 io log/slog maps math runtime/debug slices strconv strings time unicode/utf8
		github.com/goccy/go-json go.etcd.io/raft/v3 go.etcd.io/raft/v3/raftpb go.etcd.io/raft/v3/tracker google.golang.org/protobuf/proto
		github.com/raftpico/go/api github.com/raftpico/go/jsonrpc github.com/raftpico/go/machine github.com/raftpico/go/raftpico/internal/join github.com/raftpico/go/raftpico/internal/wire`) {
		allowed[path] = true
	}
	clocks := map[string]bool{"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true, "NewTimer": true, "NewTicker": true, "Tick": true}
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	require.Contains(t, names, "node.go")
	files := token.NewFileSet()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		require.NoError(t, err)
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			require.True(t, allowed[path], "%s imports %s", name, path)
		}
		ast.Inspect(file, func(x ast.Node) bool {
			switch x := x.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
				t.Errorf("%s: a goroutine or channel in the core", files.Position(x.Pos()))
			case *ast.SelectorExpr:
				if pkg, ok := x.X.(*ast.Ident); ok && (pkg.Name == "time" && clocks[x.Sel.Name] || pkg.Name == "jsonrpc" && (x.Sel.Name == "Dial" || x.Sel.Name == "Server" || x.Sel.Name == "NewClient")) {
					t.Errorf("%s: the core uses %s.%s", files.Position(x.Pos()), pkg.Name, x.Sel.Name)
				}
			}
			return true
		})
	}
}
