package wire

import "reflect"

// Kind is the name of the member that is set.
func (s *System) Kind() string {
	for v, i := reflect.ValueOf(*s), 0; i < v.NumField(); i++ {
		if !v.Field(i).IsNil() {
			return v.Type().Field(i).Name
		}
	}
	return ""
}
