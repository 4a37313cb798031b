package expr

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
	"github.com/cespare/xxhash/v2"
)

// Bounds on what one evaluation may cost, in cel-go's units of about one step
// each: an expression over a hostile record fails, it does not hang the task.
const (
	costLimit = 10_000_000
	maxRange  = 100_000
	maxSource = 16 << 10 // characters of one expression
)

// baseEnv is the language without names. The versions of the libraries are
// pinned with cel-go's in go.mod.
var baseEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.OptionalTypes(), // the regex library needs them
		ext.Strings(),
		ext.Math(),
		ext.Lists(ext.ListsMaxRangeSize(maxRange)),
		ext.Encoders(),
		ext.Regex(),
		cel.ParserExpressionSizeLimit(maxSource),
		cel.ParserRecursionLimit(100),
		cel.DefaultUTCTimeZone(true),
		cel.Function("ms", cel.Overload("procd_ms", []*cel.Type{cel.StringType}, cel.IntType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return durationVal(v) }))),
		cel.Function("floorTo", cel.Overload("procd_floor_to", []*cel.Type{cel.IntType, cel.StringType}, cel.IntType,
			cel.BinaryBinding(floorVal))),
		hashFunction(),
	)
})

// ParseDuration reads durations as job files have them, such as 100ms, 5m, 1h30m
// or 7d: time.ParseDuration's, and days.
func ParseDuration(s string) (time.Duration, error) {
	rest, days := s, time.Duration(0)
	if i := strings.IndexByte(s, 'd'); i > 0 {
		var n int64
		for _, c := range s[:i] {
			if c < '0' || c > '9' || n > 100_000 {
				return 0, fmt.Errorf("%q is no duration, such as 5m or 7d", s)
			}
			n = 10*n + int64(c-'0')
		}
		days, rest = time.Duration(n)*24*time.Hour, s[i+1:]
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || days+d < days && d > 0 {
		return 0, fmt.Errorf("%q is no duration, such as 5m or 7d", s)
	}
	return days + d, nil
}

func milliseconds(s string) (int64, *Error) {
	d, err := ParseDuration(s)
	if err != nil {
		return 0, &Error{Msg: err.Error()}
	}
	return d.Milliseconds(), nil
}

// floorTo is the largest multiple of step that is at most t.
func floorTo(t, step int64) (int64, *Error) {
	if step <= 0 {
		return 0, &Error{Msg: "floorTo needs a duration of a millisecond or more"}
	}
	r := t % step
	if r < 0 {
		r += step
	}
	return sub(t, r)
}

func durationVal(v ref.Val) ref.Val {
	n, err := milliseconds(string(v.(types.String)))
	if err != nil {
		return types.NewErr("%s", err.Msg)
	}
	return types.Int(n)
}

func floorVal(t, step ref.Val) ref.Val {
	n, err := milliseconds(string(step.(types.String)))
	if err == nil {
		n, err = floorTo(int64(t.(types.Int)), n)
	}
	if err != nil {
		return types.NewErr("%s", err.Msg)
	}
	return types.Int(n)
}

// hashFunction declares hash(x): a whole number, 0 or more, that is the same on
// every machine and in every version. It is XXH64 of a letter for the type and
// the value (text and bytes as they are, numbers as 8 bytes little-endian),
// with the top bit cleared.
func hashFunction() cel.EnvOption {
	var overloads []cel.FunctionOpt
	for _, t := range []*cel.Type{cel.StringType, cel.BytesType, cel.IntType, cel.DoubleType, cel.BoolType} {
		overloads = append(overloads, cel.Overload("procd_hash_"+t.String(), []*cel.Type{t}, cel.IntType, cel.UnaryBinding(hashVal)))
	}
	return cel.Function("hash", overloads...)
}

func hashVal(v ref.Val) ref.Val {
	var b []byte
	switch x := v.(type) {
	case types.String:
		b = append([]byte{'s'}, x...)
	case types.Bytes:
		b = append([]byte{'y'}, x...)
	case types.Int:
		b = binary.LittleEndian.AppendUint64([]byte{'n'}, uint64(x))
	case types.Double:
		b = binary.LittleEndian.AppendUint64([]byte{'d'}, doubleBits(float64(x)))
	case types.Bool:
		b = append([]byte{'b'}, 0)
		if x {
			b[1] = 1
		}
	default:
		return types.MaybeNoSuchOverloadErr(v)
	}
	return types.Int(xxhash.Sum64(b) &^ (1 << 63))
}

// programOptions are the same for every program: they fix the order of maps.
func programOptions() []cel.ProgramOption {
	return []cel.ProgramOption{
		cel.CustomDecorator(sortMaps),
		cel.CostLimit(costLimit),
	}
}

// sortMaps replaces what makes a map by what makes a sorted one. Literals do
// not go through the type adapter, so the plan is the only place to catch them.
func sortMaps(i interpreter.Interpretable) (interpreter.Interpretable, error) {
	c, ok := i.(interpreter.InterpretableConstructor)
	if !ok || c.Type() != types.MapType {
		return i, nil
	}
	return &mapConstructor{c}, nil
}

type mapConstructor struct {
	interpreter.InterpretableConstructor
}

// Eval builds the map, then sorts it.
func (m *mapConstructor) Eval(vars interpreter.Activation) ref.Val {
	return sorted(m.InterpretableConstructor.Eval(vars))
}

// Exec is Eval in the second version of the interface.
func (m *mapConstructor) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return sorted(m.InterpretableConstructor.Exec(frame))
}

func sorted(v ref.Val) ref.Val {
	if m, ok := v.(traits.Mapper); ok {
		return newSortedMap(m)
	}
	return v
}
