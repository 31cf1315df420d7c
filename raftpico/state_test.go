package raftpico_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/internal/node"
)

// TestStateIsWhatServersAnswer: the public type has every member of the answer, under the same names.
func TestStateIsWhatServersAnswer(t *testing.T) {
	t.Parallel()
	require.Equal(t, shape(reflect.TypeFor[node.ServerState]()), shape(reflect.TypeFor[raftpico.State]()))
}

// shape describes the JSON of a type.
func shape(t reflect.Type) any {
	switch t.Kind() {
	case reflect.Pointer:
		return []any{"pointer", shape(t.Elem())}
	case reflect.Slice:
		return []any{"slice", shape(t.Elem())}
	case reflect.Struct:
		fields := map[string]any{}
		for i := range t.NumField() {
			f := t.Field(i)
			fields[fmt.Sprint(f.Name, " ", f.Tag)] = shape(f.Type)
		}
		return fields
	}
	return t.Kind().String()
}
