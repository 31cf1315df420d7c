package machinetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
)

// Where inputs come from. What a machine gets is what a server would let pass.

const (
	inputDepth = 128  // of nesting, for what clients send
	stateDepth = 1024 // for what machines put out
)

const (
	defaultSteps = 50
	maxInput     = 64 << 10 // bytes of a mutated input
)

func newHarness(c Config) (*harness, error) {
	switch {
	case c.New == nil:
		return nil, errors.New("machinetest: Config.New is missing")
	case c.Runs < 0 || c.Steps < 0:
		return nil, errors.New("machinetest: Config.Runs and Config.Steps can't be negative")
	case len(c.Inputs) == 0:
		return nil, errors.New("machinetest: Config.Inputs is empty: give an input of each sort that the machine takes")
	}
	if c.Steps == 0 {
		c.Steps = defaultSteps
	}
	h := &harness{
		Config: c, running: new(atomic.Pointer[call]), patience: 10 * time.Second,
		warn: func(text string) { fmt.Fprintln(os.Stderr, text) },
	}
	for i, v := range c.Inputs {
		in, err := encodeInput(v)
		if err != nil {
			return nil, fmt.Errorf("machinetest: Config.Inputs[%d]: %w", i, err)
		}
		h.samples = append(h.samples, in)
	}
	return h, nil
}

// encodeInput makes JSON of a sample.
func encodeInput(v any) ([]byte, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return checked(raw)
	}
	b, err := json.MarshalWithOption(v, json.DisableHTMLEscape())
	if err != nil {
		return nil, err
	}
	return checked(b)
}

// checked returns JSON as a server hands it to a machine.
func checked(b []byte) ([]byte, error) {
	if err := jsonrpc.Valid(b, inputDepth); err != nil {
		return nil, err
	}
	return jsonrpc.Compact(bytes.Clone(b)), nil
}

// nonsense are inputs that hardly any machine takes, and parts that are put in the place of others.
var nonsense = []string{
	`null`, `true`, `0`, `-1`, `1`, `2`, `1.5`, `-0`, `1e400`,
	`9007199254740993`, `9223372036854775807`, `-9223372036854775808`, `18446744073709551616`,
	`""`, `"a"`, `"b"`, `" "`, `"\u0000"`, `"é😀"`, `"<&>\u2028"`, `"\"\\/"`, `"0"`, `"9999-12-31T23:59:59Z"`,
	`[]`, `[null]`, `[[[[]]]]`, `[1,2,3,4,5,6,7,8,9]`, `{}`, `{"":null}`, `{"a":{"a":{}}}`, `{"a":1,"b":2}`,
}

// mutate replaces parts of an input by others.
func (h *harness) mutate(c *choices, in []byte) []byte {
	tree, err := parse(in)
	if err != nil {
		return in
	}
	for range 1 + c.n(3) {
		tree = h.change(c, tree)
	}
	out, err := json.MarshalWithOption(tree, json.DisableHTMLEscape())
	if err != nil || len(out) > maxInput {
		return in
	}
	if out, err = checked(out); err != nil {
		return in
	}
	return out
}

// parse decodes JSON. Numbers keep their digits.
func parse(in []byte) (tree any, err error) {
	d := json.NewDecoder(bytes.NewReader(in))
	d.UseNumber()
	err = d.Decode(&tree)
	return tree, err
}

// change changes one part of a tree. It goes down from the root, and stops by chance.
func (h *harness) change(c *choices, tree any) any {
	if c.n(4) > 0 {
		switch node := tree.(type) {
		case []any:
			if len(node) > 0 {
				i := c.n(len(node))
				node[i] = h.change(c, node[i])
				return node
			}
		case map[string]any:
			if len(node) > 0 {
				key := slices.Sorted(maps.Keys(node))[c.n(len(node))]
				node[key] = h.change(c, node[key])
				return node
			}
		}
	}
	if c.n(4) == 0 {
		return h.reshape(c, tree)
	}
	if c.n(4) > 0 { // a part of another sample: so that inputs meet
		if other, err := parse(h.samples[c.n(len(h.samples))]); err == nil {
			return part(c, other)
		}
	}
	other, _ := parse([]byte(nonsense[c.n(len(nonsense))])) // all of it is JSON, but not all of it is a number that fits
	return other
}

// reshape takes something away from a node, or adds to it.
func (h *harness) reshape(c *choices, tree any) any {
	switch node := tree.(type) {
	case []any:
		if len(node) > 0 && c.n(2) == 0 {
			return node[:len(node)-1]
		}
		return append(node, tree)
	case map[string]any:
		keys := slices.Sorted(maps.Keys(node))
		if len(keys) > 0 {
			key := keys[c.n(len(keys))]
			if c.n(2) == 0 {
				node[key+"x"] = node[key]
			}
			delete(node, key)
		}
		return node
	case string:
		return node + node + "x"
	}
	return []any{tree}
}

// part picks a part of a tree, most often a leaf.
func part(c *choices, tree any) any {
	switch node := tree.(type) {
	case []any:
		if len(node) > 0 && c.n(8) > 0 {
			return part(c, node[c.n(len(node))])
		}
	case map[string]any:
		if len(node) > 0 && c.n(8) > 0 {
			return part(c, node[slices.Sorted(maps.Keys(node))[c.n(len(node))]])
		}
	}
	return tree
}
