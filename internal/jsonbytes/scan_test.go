package jsonbytes_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/procd/procd/internal/jsonbytes"
	"github.com/procd/procd/internal/jsonbytes/jsontest"
)

// isJSON says whether a text is a JSON value, as this package has it.
func isJSON(data []byte) bool {
	end := jsonbytes.Value(data, jsonbytes.Space(data, 0), jsonbytes.MaxDepth)
	return end >= 0 && jsonbytes.Space(data, end) == len(data)
}

// same fails unless the library and this package agree on a text.
func same(t *testing.T, data []byte) (valid bool) {
	t.Helper()
	want := jsontext.Value(data).IsValid(jsontext.AllowDuplicateNames(true))
	if got := isJSON(data); got != want {
		t.Fatalf("%q is JSON: %v, says the library, %v, says this", data, want, got)
	}
	sameStrings(t, data)
	sameNumbers(t, data)
	return want
}

// sameStrings looks at what begins at each place as a string.
func sameStrings(t *testing.T, data []byte) {
	for at := range data {
		end, plain := jsonbytes.String(data, at)
		var want jsontext.Value
		if data[at] == '"' {
			want, _ = jsontext.NewDecoder(bytes.NewBuffer(data[at:])).ReadValue()
		}
		if end < 0 && want == nil {
			continue
		}
		if want == nil || end != at+len(want) {
			t.Fatalf("at %d of %q is the string %s, says the library, not what ends at %d", at, data, want, end)
		}
		if plain != !bytes.ContainsRune(want, '\\') {
			t.Fatalf("%s is plain: %v", want, plain)
		}
	}
}

// sameNumbers looks at what begins at each place as a number.
func sameNumbers(t *testing.T, data []byte) {
	for at := range data {
		size := 0
		for size < len(data)-at && strings.IndexByte("+-.0123456789eE", data[at+size]) >= 0 {
			size++
		}
		if size == 0 {
			continue
		}
		word := data[at : at+size]
		valid := jsontext.Value(word).IsValid()
		if end := jsonbytes.Number(word, 0); (end == size) != valid {
			t.Fatalf("%q is a number: %v, says the library; this sees its end at %d", word, valid, end)
		}
		whole := valid && !bytes.ContainsAny(word, ".eE")
		n, err := strconv.ParseInt(string(word), 10, 64)
		if got, end := jsonbytes.Whole(word, 0); (end == size) != (whole && err == nil) || end == size && got != n {
			t.Fatalf("%q is %d and ends at %d", word, got, end)
		}
		u, err := strconv.ParseUint(string(word), 10, 64)
		if got, end := jsonbytes.Natural(word, 0); (end == size) != (whole && err == nil && size < 20) || end == size && got != u {
			t.Fatalf("%q is %d and ends at %d", word, got, end)
		}
	}
}

func TestAgreesWithTheLibrary(t *testing.T) {
	texts := jsontest.Texts{Rand: rand.New(rand.NewPCG(3, 4)), Names: map[string]jsontest.Kind{"type": "text", "x": "", "": "int"}}
	valid := 0
	const all = 2000
	for range all {
		if same(t, texts.Next()) {
			valid++
		}
	}
	if valid < all/4 || valid > all*3/4 {
		t.Errorf("%d of %d texts were JSON", valid, all)
	}
}

// Each byte, at each place within and behind the eight that are looked at
// together.
func TestEachByteInAString(t *testing.T) {
	for c := range 256 {
		for before := range 18 {
			text := `"` + strings.Repeat("x", before) + string([]byte{byte(c)}) + "xy\""
			same(t, []byte(text))
			same(t, []byte(text+`, "`))
		}
	}
}

func TestDepth(t *testing.T) {
	for _, n := range []int{jsonbytes.MaxDepth, jsonbytes.MaxDepth + 1} {
		want := n == jsonbytes.MaxDepth
		for _, text := range []string{
			strings.Repeat("[", n) + strings.Repeat("]", n),
			strings.Repeat(`{"":`, n-1) + "[]" + strings.Repeat("}", n-1),
		} {
			got := isJSON([]byte(text))
			if library := jsontext.Value(text).IsValid(); got != want || library != want {
				t.Errorf("%d levels: %v, the library says %v", n, got, library)
			}
		}
	}
}

// A decoder of an object comes by each member.
func TestMembers(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                "",
		` { } `:                             "",
		`{"a":1}`:                           "a=1;",
		"{ \"a\" :\n1 , \"\\u0062\":[2,3]}": `a=1;\u0062=[2,3];`,
		`{"a":1,}`:                          "a=1;broken",
		`{,}`:                               "broken",
		`{"a" 1}`:                           "broken",
		`{"a":1 "b":2}`:                     "a=1;broken",
		`{"a":1]`:                           "a=1;broken",
		`{"a":1`:                            "a=1;broken",
		`{`:                                 "broken",
	} {
		data, got := []byte(text), ""
		at, more := jsonbytes.Begin(data, jsonbytes.Space(data, 0), '}')
		for more {
			name, _, value := jsonbytes.Name(data, at)
			if at = value; at >= 0 {
				at = jsonbytes.Value(data, value, 5)
				got += string(name[1:len(name)-1]) + "=" + string(data[value:at]) + ";"
			}
			at, more = jsonbytes.Next(data, at, '}')
		}
		if at < 0 {
			got += "broken"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, n := range []int{0, 1, 3, 64, 1000} {
		var names []string
		for i := range n {
			names = append(names, "name-"+strconv.Itoa(i)+"-"+strconv.Itoa(i%7))
		}
		table := jsonbytes.NewNames(names)
		for i, name := range names {
			if got := table.Find([]byte(name)); got != i {
				t.Fatalf("%s is %d of %d, not %d", name, i, n, got)
			}
		}
		for _, other := range []string{"", "x", "name-", "name-1-2", "NAME-1-1"} {
			if got := table.Find([]byte(other)); got != -1 {
				t.Fatalf("%q is %d of %d", other, got, n)
			}
		}
	}
	// All names of up to nine bytes, of two letters, and longer ones that begin
	// and end alike.
	var all []string
	for size := range 10 {
		for bits := range 1 << size {
			all = append(all, strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprintf("%0*b", size, bits))[:size])
		}
	}
	all = append(all, "abcdxefgh", "abcdyefgh", "abcdxyefgh", "abcdefgh-")
	table := jsonbytes.NewNames(all)
	for i, name := range all {
		others := jsonbytes.NewNames(append(all[:i:i], all[i+1:]...))
		if got := table.Find([]byte(name)); got != i {
			t.Fatalf("%q is %d, not %d", name, got, i)
		}
		if got := others.Find([]byte(name)); got != -1 {
			t.Fatalf("%q, which is not there, is %d", name, got)
		}
	}
}

func TestAppendString(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	parts := []string{"a", "room 7", "\"", "\\", "\n", "\x00", "\x7f", "é", "\u2028", "😀", "\xff", "<&>", "\xed\xa0\x80"}
	for range 10_000 {
		var s string
		for range rng.IntN(5) {
			s += parts[rng.IntN(len(parts))]
		}
		want, wantErr := jsontext.AppendQuote([]byte("x"), s)
		got, err := jsonbytes.AppendString([]byte("x"), s)
		if (err == nil) != (wantErr == nil) || err == nil && string(got) != string(want) {
			t.Fatalf("%q: %s, %v; the library writes %s, %v", s, got, err, want, wantErr)
		}
	}
}

func FuzzAgreesWithTheLibrary(f *testing.F) {
	for _, text := range []string{
		`{"type":"motion","room":7,"x":[true,false,null,-1.5e+3,"\ud83d\ude00\n"]}`, "[1,2]x", "\"\xff\"", "01", "", " ", "-0",
		strconv.FormatInt(math.MinInt64, 10),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) { same(t, data) })
}
