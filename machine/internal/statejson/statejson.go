// Package statejson has the rules by which machines' inputs and states become JSON and come back: machine.JSON describes
// them.
package statejson

import (
	"errors"

	json1 "github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"
	"github.com/goccy/go-json/v2"
)

var (
	// Strict is for reading.
	Strict = json.JoinOptions(
		json.RejectUnknownMembers(true),
		json1.FormatDurationAsNano(true), // v2 alone has no form of a time.Duration
		json.WithUnmarshalers(json.UnmarshalFromFunc(decodeNumber)))

	// Faithful is for writing. What it writes Strict reads back as it was: raw values byte for byte, nil as nil and empty
	// as empty. Only raw values can hold duplicate names, and only ones that did not come by an input.
	Faithful = json.JoinOptions(
		json.Deterministic(true),
		json.FormatNilMapAsNull(true),
		json.FormatNilSliceAsNull(true),
		json1.FormatDurationAsNano(true),
		jsontext.PreserveRawStrings(true),
		jsontext.AllowDuplicateNames(true))
)

// decodeNumber decodes a json.Number, which v2 of goccy/go-json 0.12.0 writes as a number but reads as a string.
func decodeNumber(d *jsontext.Decoder, n *json1.Number) error {
	v, err := d.ReadValue()
	switch {
	case err != nil:
		return err
	case v.Kind() == jsontext.KindNumber:
		*n = json1.Number(v)
	case v.Kind() == jsontext.KindNull:
		*n = ""
	default:
		return errors.New("not a number")
	}
	return nil
}
