package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

// site is a cluster of one server with its HTTP port.
type site struct {
	t      *testing.T
	server *raftpico.Server
	http   *httptest.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	c := memnet.Start(t, 1, func() machine.Machine { return machine.JSON(&kvs{}) })
	require.NoError(t, c.Servers[0].Ready(t.Context()))
	s := &site{t, c.Servers[0], httptest.NewServer(newFront(c.Servers[0], nil))}
	t.Cleanup(s.http.Close)
	require.Eventually(t, func() bool { // PutIf and PutAll wait until the cluster knows the machine's version
		state, err := s.server.State(t.Context(), false)
		return err == nil && state.ActiveVersion == 2
	}, time.Minute, 5*time.Millisecond)
	return s
}

// apply is what a client of JSON-RPC does.
func (s *site) apply(input string) string {
	s.t.Helper()
	out, err := s.server.Apply(s.t.Context(), machine.Command, json.RawMessage(input))
	require.NoError(s.t, err)
	return string(out)
}

type header map[string]string

// ask sends a request. A body makes it a form, unless header says what it is.
func (s *site) ask(method, path, body string, h header) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, strings.NewReader(body))
	require.NoError(s.t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded") // as curl -d does, also for JSON
	}
	for name, value := range h {
		r.Header.Set(name, value)
	}
	if h["Host"] != "" {
		r.Host = h["Host"]
	}
	response, err := s.http.Client().Do(r)
	require.NoError(s.t, err)
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return response, string(got)
}

func (s *site) wants(status int, answer, method, path, body string) {
	s.t.Helper()
	response, got := s.ask(method, path, body, nil)
	require.Equal(s.t, status, response.StatusCode, "%s %s: %s", method, path, got)
	require.Equal(s.t, answer, strings.TrimSuffix(got, "\n"), "%s %s", method, path)
}

func TestHTTP(t *testing.T) {
	s := newSite(t)
	s.wants(200, `{"key":"a","found":false}`, "GET", "/api/kv?key=a", "")
	s.wants(200, `{"success":true}`, "POST", "/api/kv", `{"key":"a","value":"1 & 2"}`)
	s.wants(200, `{"key":"a","value":"1 & 2","version":1,"found":true}`, "GET", "/api/kv?key=a", "")
	s.wants(200, `1 & 2`, "GET", "/konsen?key=a", "")
	s.wants(200, ``, "GET", "/konsen?key=nobody", "")
	require.Equal(t, `"1 & 2"`, s.apply(`{"Get":"a"}`))

	s.wants(200, ``, "POST", "/konsen", "k1=v1&k2=&k%3D%26=%00%ff+x")
	s.wants(200, `v1`, "GET", "/konsen?key=k1", "")
	s.wants(200, `{"key":"k2","value":"","version":3,"found":true}`, "GET", "/api/kv?key=k2", "")
	s.wants(200, "\x00\xff x", "GET", "/konsen?key=k%3D%26", "")
	s.wants(200, `{"key":"k=&","valueBase64":"AP8geA==","version":4,"found":true}`, "GET", "/api/kv?key=k%3D%26", "")

	s.wants(200, `{"success":true,"version":5}`, "POST", "/api/kv", `{"key":"a","value":"{\"n\": [1]}","json":true,"version":1}`)
	s.wants(409, `{"error":"the key has another version","version":5}`, "POST", "/api/kv", `{"key":"a","value":"late","version":1}`)
	s.wants(409, `{"error":"the key has another version","version":0}`, "POST", "/api/kv", `{"key":"new","value":"","version":1}`)
	s.wants(200, `{"key":"a","value":"{\"n\":[1]}","json":true,"version":5,"found":true}`, "GET", "/api/kv?key=a", "")
	s.wants(200, `{"n":[1]}`, "GET", "/konsen?key=a", "")
	require.Equal(t, `{"n":[1]}`, s.apply(`{"Get":"a"}`))

	s.apply(`{"Put":["null",null]}`)
	s.wants(200, `{"key":"null","value":"null","json":true,"version":6,"found":true}`, "GET", "/api/kv?key=null", "")
	s.wants(200, `{"keys":["a","k1","k2","k=&","null"],"more":false}`, "GET", "/api/keys", "")
	s.wants(200, `{"keys":["k1","k2"],"more":true}`, "GET", "/api/keys?prefix=k&limit=2", "")
	s.wants(200, `{"keys":["k=&"],"more":false}`, "GET", "/api/keys?prefix=k&limit=2&after=k2", "")
	s.wants(200, `{"keys":[],"more":false}`, "GET", "/api/keys?prefix=z&limit=100000", "")
	s.wants(200, `{"success":true}`, "DELETE", "/api/kv?key=null", "")
	s.wants(200, `{"success":true}`, "DELETE", "/api/kv?key=null", "")
	s.wants(200, `{"key":"null","found":false}`, "GET", "/api/kv?key=null", "")
}

// What is wrong gets an answer that says so, and changes nothing.
func TestBadHTTPRequestsChangeNothing(t *testing.T) {
	s := newSite(t)
	s.apply(`{"Put":["k","old"]}`)
	before := s.apply(`{"GetVersion":"k"}`)
	large := strings.Repeat("x", maxBody)
	var many strings.Builder
	for i := range mostPairs + 1 {
		fmt.Fprintf(&many, "%d=&", i)
	}
	for _, c := range []struct {
		method, path, body string
		h                  header
		status             int
		says               string
	}{
		{"GET", "/api/kv", "", nil, 400, "key is missing or empty"},
		{"GET", "/api/kv?key=", "", nil, 400, "key is missing or empty"},
		{"GET", "/api/kv?key=a&key=b", "", nil, 400, "key is given twice"},
		{"GET", "/api/kv?key=%ff", "", nil, 400, "key is not UTF-8"},
		{"GET", "/api/kv?key=k&key=%zz", "", nil, 400, "the query can't be read"},
		{"GET", "/api/kv?key=k;x=y", "", nil, 400, "the query can't be read"},
		{"GET", "/konsen?key=k&version=1", "", nil, 400, `unknown name \"version\"`},
		{"DELETE", "/api/kv", "", nil, 400, "key is missing or empty"},
		{"DELETE", "/api/kv?key=k&key=%zz", "", nil, 400, "the query can't be read"},
		{"DELETE", "/api/kv?key=k&version=7", "", nil, 400, `unknown name \"version\"`},
		{"GET", "/api/keys?prefix=%zz", "", nil, 400, "the query can't be read"},
		{"GET", "/api/keys?prefix=a&prefix=b", "", nil, 400, "prefix is given twice"},
		{"GET", "/api/keys?limt=1", "", nil, 400, `unknown name \"limt\"`},
		{"POST", "/api/kv?version=7", `{"key":"k","value":"v"}`, nil, 400, `unknown name \"version\"`},
		{"POST", "/konsen?x=y", "k=v", nil, 400, `unknown name \"x\"`},
		{"GET", "/konsen", "", nil, 400, "key is missing or empty"},
		{"GET", "/api/keys?limit=0", "", nil, 400, "limit must be a number from 1 to 1000"},
		{"GET", "/api/keys?limit=-1", "", nil, 400, "limit must be"},
		{"GET", "/api/keys?limit=x", "", nil, 400, "limit must be"},
		{"GET", "/api/keys?limit=", "", nil, 400, "limit must be"},
		{"GET", "/api/keys?limit=99999999999999999999", "", nil, 400, "limit must be"},
		{"GET", "/api/keys?prefix=%ff", "", nil, 400, "must be UTF-8"},
		{"GET", "/api/keys?after=%ff", "", nil, 400, "must be UTF-8"},
		{"POST", "/api/kv", "", nil, 400, "body"},
		{"POST", "/api/kv", `{}`, nil, 400, "key is missing"},
		{"POST", "/api/kv", `{"key":"k"}`, nil, 400, "value or valueBase64 is missing"},
		{"POST", "/api/kv", `{"value":"v"}`, nil, 400, "key is missing"},
		{"POST", "/api/kv", `{"key":"","value":"v"}`, nil, 400, "key is missing or empty"},
		{"POST", "/api/kv", `{"key":"k","value":null}`, nil, 400, "value or valueBase64 is missing"},
		{"POST", "/api/kv", `{"key":"k","value":5}`, nil, 400, "want a string, not a number at /value"},
		{"POST", "/api/kv", `{"key":["k"],"value":"v"}`, nil, 400, "want a string, not an array at /key"},
		{"POST", "/api/kv", `{"key":"k","value":"v","valueBase64":"dg=="}`, nil, 400, "one is wanted"},
		{"POST", "/api/kv", `{"key":"k","valueBase64":"dg=","json":true}`, nil, 400, "want a string of base64"},
		{"POST", "/api/kv", `{"key":"k","valueBase64":"dg==","json":true}`, nil, 400, "json goes with value"},
		{"POST", "/api/kv", `{"key":"k","value":"1],[","json":true}`, nil, 400, "value is not JSON"},
		{"POST", "/api/kv", `{"key":"k","value":"` + strings.Repeat("[", 127) + strings.Repeat("]", 127) + `","json":true}`, nil, 400, "nested"},
		{"POST", "/api/kv", `{"key":"k","value":"\"\\ud800\"","json":true}`, nil, 400, "value is not JSON"},
		{"POST", "/api/kv", `{"key":"k","value":"v","version":-1}`, nil, 400, "-1 is negative at /version"},
		{"POST", "/api/kv", `{"key":"k","value":"v","version":1.5}`, nil, 400, "/version"},
		{"POST", "/api/kv", `{"key":"k","value":"v","versio":1}`, nil, 400, `unknown member \"versio\"`},
		{"POST", "/api/kv", `{"key":"k","value":"v","value":"w"}`, nil, 400, "given twice"},
		{"POST", "/api/kv", `{"key":"k","value":"v"}x`, nil, 400, "body"},
		{"POST", "/api/kv", `{"key":"k","value":"v"`, nil, 400, "not complete"},
		{"POST", "/api/kv", "{\"key\":\"k\",\"value\":\"\xff\"}", nil, 400, "UTF-8"},
		{"POST", "/api/kv", `{"key":"k","value":"\ud800"}`, nil, 400, "surrogate"},
		{"POST", "/api/kv", `{"key":"k","value":"` + large + `"}`, nil, 413, "longer than 1048576 bytes"},
		{"POST", "/konsen", "", header{"Content-Type": "application/x-www-form-urlencoded"}, 400, "1 to 10000 fields; it has 0"},
		{"POST", "/konsen", "k=v&k=w", nil, 400, `the key \"k\" is given twice`},
		{"POST", "/konsen", "k=v&=w", nil, 400, "key is missing or empty"},
		{"POST", "/konsen", "k=v&%ff=w", nil, 400, "key is not UTF-8"},
		{"POST", "/konsen", "k=v&x=%zz", nil, 400, "can't be read"},
		{"POST", "/konsen", "k=v;x=y", nil, 400, "can't be read"},
		{"POST", "/konsen", "k=" + large, nil, 413, "longer than 1048576 bytes"},
		{"POST", "/konsen", many.String(), nil, 400, "can't be read"},
		{"POST", "/konsen", `{"k":"v"}`, header{"Content-Type": "application/json"}, 415, "application/x-www-form-urlencoded"},
		{"POST", "/konsen?k=v", "", nil, 415, "application/x-www-form-urlencoded"},
		{"GET", "/nothing", "", nil, 404, "no such path"},
		{"POST", "/", "", nil, 405, "GET, HEAD"},
		{"PUT", "/api/kv?key=k", "v", nil, 405, "DELETE, GET, HEAD, POST"},
		{"POST", "/api/keys", "", nil, 405, "GET, HEAD"},
		{"DELETE", "/api/status", "", nil, 405, "GET, HEAD"},
		{"POST", "/ready", "", nil, 405, "GET, HEAD"},
		{"DELETE", "/konsen?key=k", "", nil, 405, "GET, HEAD, POST"},
		{"POST", "/konsen", "k=v", header{"Sec-Fetch-Site": "cross-site"}, 403, "another site"},
		{"POST", "/konsen", "k=v", header{"Sec-Fetch-Site": "same-site"}, 403, "another site"},
		{"POST", "/api/kv", `{"key":"k","value":"v"}`, header{"Origin": "http://evil.example", "Content-Type": "text/plain"}, 403, "another site"},
		{"POST", "/api/kv", `{"key":"k","value":"v"}`, header{"Origin": "null"}, 403, "another site"},
		{"DELETE", "/api/kv?key=k", "", header{"Origin": "http://127.0.0.1:1"}, 403, "another site"},
		{"POST", "/konsen", "k=v", header{"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 421, "loopback"},
		{"GET", "/konsen?key=k", "", header{"Host": "evil.example:8000"}, 421, "loopback"},
	} {
		what := fmt.Sprintf("%s %s %.60s %v", c.method, c.path, c.body, c.h)
		response, got := s.ask(c.method, c.path, c.body, c.h)
		require.Equal(t, c.status, response.StatusCode, "%s: %.300s", what, got)
		require.Equal(t, "application/json", response.Header.Get("Content-Type"), what)
		require.Contains(t, got, c.says, what)
		var answer struct{ Error string }
		require.NoError(t, json.Unmarshal([]byte(got), &answer), what)
		require.NotEmpty(t, answer.Error, what)
		if c.status == 405 {
			require.Equal(t, c.says, response.Header.Get("Allow"), what)
		}
	}
	require.Equal(t, before, s.apply(`{"GetVersion":"k"}`))
	require.Equal(t, `["k"]`, s.apply(`"List"`))
}

// What browsers of the page, and clients that are no browsers, send is taken.
func TestRequestsOfTheSameSiteAreTaken(t *testing.T) {
	s := newSite(t)
	for _, h := range []header{
		{"Sec-Fetch-Site": "same-origin", "Origin": s.http.URL}, {"Sec-Fetch-Site": "none"}, {"Origin": s.http.URL}, {},
		{"Host": "localhost:8000"}, {"Host": "LOCALHOST."}, {"Host": "[::1]:8000"}, {"Host": "kvs.localhost"}, {"Host": "127.0.0.1"},
	} {
		response, got := s.ask("POST", "/konsen", "k=v", h)
		require.Equal(t, 200, response.StatusCode, "%v: %s", h, got)
	}
}

// Whatever a value holds, a browser takes it for data.
func TestAnswersRunNothing(t *testing.T) {
	s := newSite(t)
	s.ask("POST", "/konsen", url.Values{"x": {"<script>alert(1)</script>"}}.Encode(), nil)
	for path, kind := range map[string]string{
		"/konsen?key=x": "application/octet-stream", "/api/kv?key=x": "application/json", "/api/keys": "application/json", "/api/status": "application/json",
		"/nothing": "application/json", "/health": "application/json", "/ready": "application/json", "/": "text/html; charset=utf-8",
	} {
		response, _ := s.ask("GET", path, "", nil)
		h := response.Header
		require.Equal(t, kind, h.Get("Content-Type"), path)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		require.Equal(t, "same-origin", h.Get("Cross-Origin-Resource-Policy"), path)
		policy := h.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'", path)
		require.Contains(t, policy, "frame-ancestors 'none'", path)
		require.NotContains(t, policy, "unsafe", path)
		require.Empty(t, h.Get("Access-Control-Allow-Origin"), path)
		response, body := s.ask("HEAD", path, "", nil)
		require.Equal(t, kind, response.Header.Get("Content-Type"), path)
		require.Empty(t, body, path)
	}
}

func TestAnyBytesComeBackOverHTTP(t *testing.T) {
	s := newSite(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for i, b := range []string{"", "\x00", "plain", `"quoted\"`, "\u2028\u2029<>&", "\ufffd", "\xff", "\xed\xa0\x80", "null", "123", `{"$bytes":"/w=="}`, `{"$bytes":"x"}`,
		string(all), strings.Repeat("\x01", 200_000), "a\r\nb"} {
		form, sealed := fmt.Sprintf("form%d", i), fmt.Sprintf("base64-%d", i)
		response, said := s.ask("POST", "/konsen", url.Values{form: {b}}.Encode(), nil)
		require.Equal(t, 200, response.StatusCode, said)
		body, err := json.Marshal(map[string]any{"key": sealed, "valueBase64": []byte(b)})
		require.NoError(t, err)
		response, said = s.ask("POST", "/api/kv", string(body), nil)
		require.Equal(t, 200, response.StatusCode, said)
		for _, key := range []string{form, sealed} {
			response, got := s.ask("GET", "/konsen?key="+key, "", nil)
			require.Equal(t, 200, response.StatusCode)
			require.Equal(t, b, got, "%.50q", b)
			_, answer := s.ask("GET", "/api/kv?key="+key, "", nil)
			var v struct{ Value, ValueBase64 *string }
			require.NoError(t, json.Unmarshal([]byte(answer), &v))
			if v.Value == nil {
				plain, err := base64.StdEncoding.DecodeString(*v.ValueBase64)
				require.NoError(t, err)
				text := string(plain)
				v.Value = &text
			}
			require.Equal(t, b, *v.Value)
		}
		require.Equal(t, s.apply(fmt.Sprintf(`{"Get":%q}`, form)), s.apply(fmt.Sprintf(`{"Get":%q}`, sealed)))
	}
}

func FuzzAnyBytesComeBack(f *testing.F) {
	f.Add([]byte("text"))
	f.Add([]byte{0xff, 0})
	f.Add([]byte(`{"$bytes":"/w=="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		encoded := encodeBytes(b)
		require.True(t, json.Valid(encoded), "%q", encoded)
		got, is := decodeBytes(encoded)
		require.NotEqual(t, asJSON, is, "%q", encoded)
		require.Equal(t, string(b), string(got))
	})
}

// What other clients have put, and is not of our making, is JSON.
func TestOtherValuesAreTheirJSON(t *testing.T) {
	for _, v := range []string{`null`, `0`, `[]`, `{}`, `{"$bytes":5}`, `{"$bytes":"dGV4dA=="}`, `{"$bytes":"/w="}`, `{"$bytes":"/x=="}`, `{"$bytes":"\n/w=="}`,
		`{"$bytes":"/w==","x":1}`, `{"x":"/w=="}`, `"\ud800"`, `"$bytes"`} {
		got, is := decodeBytes(json.RawMessage(v))
		if v == `"$bytes"` {
			require.Equal(t, asText, is)
			continue
		}
		require.Equal(t, asJSON, is, v)
		require.Equal(t, v, string(got))
	}
}

// Whatever JSON a value is that was put, it can be read.
func TestAnyJSONCanBeRead(t *testing.T) {
	s := newSite(t)
	for _, v := range []string{`["\\ud83d\\ude00"]`, `{"a":1,"a":2}`, `1e999999`, `[[],[{}]]`, `-0`, `123456789012345678901234567890.5`} {
		body := `{"key":"k","json":true,"value":"` + strings.ReplaceAll(v, `"`, `\"`) + `"}`
		s.wants(200, `{"success":true}`, "POST", "/api/kv", body)
		_, got := s.ask("GET", "/api/kv?key=k", "", nil)
		var answer struct {
			Value *string
			JSON  bool
		}
		require.NoError(t, json.Unmarshal([]byte(got), &answer), got)
		require.True(t, answer.JSON, got)
		require.NotNil(t, answer.Value, got)
		v = strings.ReplaceAll(v, `\\`, `\`)
		require.Equal(t, v, *answer.Value)
		s.wants(200, v, "GET", "/konsen?key=k", "")
	}
}

// TestHTTPTellsWhatIsCertain: a write that is refused was certainly not carried out, one whose end is not known may be.
func TestHTTPTellsWhatIsCertain(t *testing.T) {
	c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&kvs{}) })
	leader := c.Leader()
	ask := func(s *raftpico.Server, method, path, body string) (int, http.Header, failure) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		w := httptest.NewRecorder()
		newFront(s, nil).ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body)))
		var f failure
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &f), w.Body.String())
		return w.Code, w.Header(), f
	}
	const put = `{"key":"k","value":"v"}`
	c.Isolate(leader.Addr())
	status, h, f := ask(leader, "POST", "/api/kv", put)
	for attempt := 0; attempt < 10 && f.Unknown != nil && !*f.Unknown; attempt++ { // a busy machine may have taken its leadership before
		c.Heal()
		leader = c.Leader()
		c.Isolate(leader.Addr())
		status, h, f = ask(leader, "POST", "/api/kv", put)
	}
	require.Equal(t, 503, status)
	require.NotNil(t, f.Unknown)
	require.True(t, *f.Unknown, "it is in the log of a leader that is cut off: %s", f.Error)
	require.Empty(t, h.Get("Retry-After"), "nobody should send it again by himself")
	for _, r := range [][2]string{{"GET", "/api/kv?key=k"}, {"GET", "/konsen?key=k"}, {"GET", "/api/keys"}} {
		status, h, f = ask(leader, r[0], r[1], "")
		require.Equal(t, 503, status, r)
		require.False(t, *f.Unknown, f.Error)
		require.Equal(t, "1", h.Get("Retry-After"))
	}
	require.Eventually(t, func() bool { status, _, _ = ask(leader, "GET", "/ready", ""); return status == 503 }, time.Minute, 10*time.Millisecond)
	status, _, _ = ask(leader, "GET", "/health", "")
	require.Equal(t, 200, status)
	status, _, _ = ask(leader, "GET", "/api/status", "")
	require.Equal(t, 200, status, "it answers for itself")
	c.Heal()

	alone, err := raftpico.Start(machine.JSON(&kvs{}), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true})
	require.NoError(t, err)
	defer alone.Close()
	status, h, f = ask(alone, "POST", "/api/kv", put)
	require.Equal(t, 503, status)
	require.False(t, *f.Unknown)
	require.Equal(t, "1", h.Get("Retry-After"))
	require.NoError(t, alone.Close())
	status, _, f = ask(alone, "POST", "/api/kv", put)
	require.Equal(t, 503, status)
	require.False(t, *f.Unknown)
}
