package main

import (
	"bytes"
	"encoding/gob"
	"io"
	"maps"
	"sync"
)

// keyed is the state of the libraries that want a machine from us.
type keyed struct {
	mu     sync.RWMutex
	values map[string][]byte // the slices don't change
}

func newKeyed() *keyed { return &keyed{values: map[string][]byte{}} }

// putCommand is the length of the key in a byte, the key, and the value.
func putCommand(op Op) []byte {
	b := make([]byte, 0, 1+len(op.Key)+len(op.Value))
	return append(append(append(b, byte(len(op.Key))), op.Key...), op.Value...)
}

// set takes a putCommand, which it does not keep. The caller holds mu.
func (k *keyed) set(command []byte) {
	key, value := command[1:1+command[0]], command[1+command[0]:]
	k.values[string(key)] = bytes.Clone(value)
}

func (k *keyed) get(key string) []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.values[key]
}

func (k *keyed) copy() map[string][]byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return maps.Clone(k.values)
}

func (k *keyed) restore(from io.Reader) error {
	values := map[string][]byte{}
	if err := gob.NewDecoder(from).Decode(&values); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.values = values
	return nil
}
