package jsonrpc

import (
	"errors"
	"io"
)

// Compactor passes on one JSON value that comes in pieces, without the white space that means nothing, and sees to it
// that it is one, in UTF-8 (RFC 8259): Compact and Valid for values that are too large for memory. It keeps none of
// the pieces. Use it from one goroutine.
type Compactor struct {
	out   io.Writer
	depth int
	state compactState
	open  []bool // what is open: true for an object
	name  bool   // the string at hand is a member's name
	rest  string // of the literal at hand
	left  int    // of a \u escape or of a UTF-8 sequence, in bytes
	low   byte   // what the next byte of a UTF-8 sequence
	high  byte   // may be (Unicode, table 3-7)
	err   error
}

// compactState says what may come next.
type compactState uint8

const (
	wantValue compactState = iota
	wantFirstElement
	wantFirstName
	wantName
	wantColon
	wantComma // or the end of what is open
	wantNothing
	inString
	inEscape
	inHex
	inRune
	inLiteral
	afterMinus
	afterZero
	inInteger
	afterPoint
	inFraction
	afterE
	afterSign
	inExponent
)

// ErrTooDeep says that arrays and objects nest deeper than is allowed.
var ErrTooDeep = errors.New("jsonrpc: nested too deep")

// NewCompactor returns a Compactor that writes to out what comes, nested at most depth deep.
func NewCompactor(out io.Writer, depth int) *Compactor { return &Compactor{out: out, depth: depth} }

// Write implements io.Writer. After an error every further call returns it.
func (c *Compactor) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	kept := 0 // p[:kept] is passed on
	for i := 0; i < len(p); i++ {
		if c.state == inString {
			if i += plainRun(p[i:]); i == len(p) {
				break
			}
		}
		space, err := c.take(p[i])
		if err == nil && space {
			err = c.pass(p[kept:i])
			kept = i + 1
		}
		if err != nil {
			c.err = err
			return kept, err
		}
	}
	if err := c.pass(p[kept:]); err != nil {
		c.err = err
		return kept, err
	}
	return len(p), nil
}

// Close tells whether what came is a whole value. It does not close the writer below.
func (c *Compactor) Close() error {
	if c.err == nil && c.state >= afterZero && len(c.open) == 0 && endsNumber(c.state) {
		c.state = wantNothing
	}
	if c.err == nil && c.state != wantNothing {
		c.err = errInvalid
	}
	return c.err
}

func (c *Compactor) pass(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := c.out.Write(p)
	return err
}

// take judges one byte. Space is true for white space that means nothing.
func (c *Compactor) take(b byte) (space bool, err error) {
	switch c.state {
	case inString:
		return false, c.takeInString(b)
	case inEscape, inHex, inRune:
		return false, c.takeSequence(b)
	case inLiteral:
		if b != c.rest[0] {
			return false, errInvalid
		}
		if c.rest = c.rest[1:]; c.rest == "" {
			c.ended()
		}
		return false, nil
	}
	if c.state >= afterMinus {
		if next, ok := numberStep(c.state, b); ok {
			c.state = next
			return false, nil
		}
		if !endsNumber(c.state) {
			return false, errInvalid
		}
		c.ended() // and b is what follows the number
	}
	if isSpace(b) {
		return true, nil
	}
	return false, c.takeToken(b)
}

func (c *Compactor) takeInString(b byte) error {
	switch {
	case b == '"' && c.name:
		c.state, c.name = wantColon, false
	case b == '"':
		c.ended()
	case b == '\\':
		c.state = inEscape
	case b < 0xC2 || b > 0xF4: // a control character, or no first byte
		return errInvalid
	default:
		c.state, c.low, c.high = inRune, 0x80, 0xBF
		switch {
		case b < 0xE0:
			c.left = 1
		case b < 0xF0:
			c.left = 2
		default:
			c.left = 3
		}
		switch b {
		case 0xE0:
			c.low = 0xA0
		case 0xED:
			c.high = 0x9F
		case 0xF0:
			c.low = 0x90
		case 0xF4:
			c.high = 0x8F
		}
	}
	return nil
}

// takeSequence goes on with an escape or with a character of several bytes.
func (c *Compactor) takeSequence(b byte) error {
	switch c.state {
	case inEscape:
		switch b {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			c.state = inString
			return nil
		case 'u':
			c.state, c.left = inHex, 4
			return nil
		}
		return errInvalid
	case inHex:
		if !isDigit(b) && (b|0x20 < 'a' || b|0x20 > 'f') {
			return errInvalid
		}
	default:
		if b < c.low || b > c.high {
			return errInvalid
		}
		c.low, c.high = 0x80, 0xBF
	}
	if c.left--; c.left == 0 {
		c.state = inString
	}
	return nil
}

// takeToken takes the first byte of a token.
func (c *Compactor) takeToken(b byte) error {
	switch c.state {
	case wantFirstElement:
		if b == ']' {
			return c.closes(false)
		}
		return c.begins(b)
	case wantValue:
		return c.begins(b)
	case wantFirstName, wantName:
		if b == '}' && c.state == wantFirstName {
			return c.closes(true)
		}
		if b == '"' {
			c.state, c.name = inString, true
			return nil
		}
	case wantColon:
		if b == ':' {
			c.state = wantValue
			return nil
		}
	case wantComma:
		object := c.open[len(c.open)-1]
		switch {
		case b == ',' && object:
			c.state = wantName
			return nil
		case b == ',':
			c.state = wantValue
			return nil
		case b == '}' || b == ']':
			return c.closes(b == '}')
		}
	}
	return errInvalid
}

// begins takes the first byte of a value.
func (c *Compactor) begins(b byte) error {
	switch {
	case b == '"':
		c.state = inString
	case b == '{' || b == '[':
		if len(c.open) == c.depth {
			return ErrTooDeep
		}
		c.open = append(c.open, b == '{')
		c.state = wantFirstElement
		if b == '{' {
			c.state = wantFirstName
		}
	case b == 't':
		c.state, c.rest = inLiteral, "rue"
	case b == 'f':
		c.state, c.rest = inLiteral, "alse"
	case b == 'n':
		c.state, c.rest = inLiteral, "ull"
	case b == '-':
		c.state = afterMinus
	case b == '0':
		c.state = afterZero
	case isDigit(b):
		c.state = inInteger
	default:
		return errInvalid
	}
	return nil
}

// closes ends an array or an object.
func (c *Compactor) closes(object bool) error {
	last := len(c.open) - 1
	if c.open[last] != object {
		return errInvalid
	}
	c.open = c.open[:last]
	c.ended()
	return nil
}

// ended says that a value is complete.
func (c *Compactor) ended() {
	c.state = wantComma
	if len(c.open) == 0 {
		c.state = wantNothing
	}
}

// numberStep is the grammar of numbers: the state after b, if b goes on with the number.
func numberStep(state compactState, b byte) (next compactState, ok bool) {
	digit := isDigit(b)
	switch state {
	case afterMinus:
		switch {
		case b == '0':
			return afterZero, true
		case digit:
			return inInteger, true
		}
	case inInteger, afterZero:
		switch {
		case digit && state == inInteger:
			return inInteger, true
		case b == '.':
			return afterPoint, true
		case b|0x20 == 'e':
			return afterE, true
		}
	case afterPoint, inFraction:
		switch {
		case digit:
			return inFraction, true
		case b|0x20 == 'e' && state == inFraction:
			return afterE, true
		}
	case afterE, afterSign, inExponent:
		switch {
		case digit:
			return inExponent, true
		case (b == '+' || b == '-') && state == afterE:
			return afterSign, true
		}
	}
	return 0, false
}

// endsNumber tells whether a number may end in a state.
func endsNumber(state compactState) bool {
	return state == afterZero || state == inInteger || state == inFraction || state == inExponent
}
