package expr

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// Condition is a condition over values whose types are only known when it is
// evaluated, such as the rows of a savepoint. It has the language's functions.
type Condition struct {
	program cel.Program
}

// NewCondition compiles a condition over values of these names.
func NewCondition(source string, names ...string) (*Condition, error) {
	env, err := baseEnv()
	if err != nil {
		return nil, err
	}
	var variables []cel.EnvOption
	for _, name := range names {
		variables = append(variables, cel.Variable(name, cel.DynType))
	}
	if env, err = env.Extend(variables...); err != nil {
		return nil, err
	}
	ast, issues := env.Compile(source)
	if issues.Err() != nil {
		e := issues.Errors()[0]
		return nil, fmt.Errorf("column %d: %s", e.Location.Column()+1, e.Message)
	}
	if t := ast.OutputType(); t != cel.BoolType && t != cel.DynType {
		return nil, fmt.Errorf("it is of type %s, not a condition", t)
	}
	program, err := env.Program(ast, programOptions()...)
	if err != nil {
		return nil, err
	}
	return &Condition{program}, nil
}

// Holds evaluates the condition.
func (c *Condition) Holds(values map[string]any) (bool, error) {
	v, _, err := c.program.Eval(values)
	if err != nil {
		return false, err
	}
	holds, ok := v.(types.Bool)
	if !ok {
		return false, fmt.Errorf("it is of type %s here, not a condition", v.Type())
	}
	return bool(holds), nil
}
