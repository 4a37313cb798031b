package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
)

// get asks a running job for the state of one key.
func (a *app) get() *cobra.Command {
	return &cobra.Command{
		Use:   "get" + a.jobArgument() + " STORE KEY",
		Short: "Ask a running job for the state of one key, as of its last committed transaction",
		Long: `Ask a running job for the state of one key, as of the last committed transaction
of the task that has it. It is printed as JSON.

A KEY is written as it is: 7, true, front-door. A key of several parts is a JSON
list of texts, ["front","7"]. What has no text is {"base64":"/wA="}. Before a key
that begins with - goes a --.`,
		Args: a.plusFile(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withPlane(cmd, args, func(ctx context.Context, p *control.Plane, job string, _ settings) error {
				asked := args[len(args)-2:]
				return a.askFor(ctx, p, job, asked[0], asked[1])
			})
		},
	}
}

// stateOutput is the state of a key in one partition.
type stateOutput struct {
	Partition int32 `json:"partition"`
	// Offsets are the next ones of the task's inputs: what the state is as of.
	Offsets []kstate.SourceOffset `json:"offsets"`
	Worker  string                `json:"worker"`
	Version int                   `json:"version"` // of the schema
	Value   json.RawMessage       `json:"value"`
}

// gotOutput is what get prints with --json.
type gotOutput struct {
	FormatVersion int             `json:"format_version"`
	Job           string          `json:"job"`
	Store         string          `json:"store"`
	Key           json.RawMessage `json:"key"`
	// States has one element; none for a key without state, and more where a
	// topic's records of one key are on several partitions (`partitioner: any`).
	States []stateOutput `json:"states"`
}

func (a *app) askFor(ctx context.Context, p *control.Plane, job, uid, text string) error {
	store, err := storeOf(ctx, p, job, uid)
	if err != nil {
		return err
	}
	key, err := savepoint.ParseKey(store.KeyType, text)
	if err != nil {
		return fmt.Errorf("store %s: %w", uid, err)
	}
	answers, err := p.Ask(ctx, uid, key)
	if errors.Is(err, control.ErrNoAnswer) {
		return &failure{
			code: TimedOut, err: fmt.Errorf("no process of %s answered within %s", job, a.flags.timeout),
			hint: fmt.Sprintf("procd status %s shows whether the tasks of stage %s run", job, store.Stage),
		}
	}
	if err != nil {
		return err
	}
	// Once more: the job may have been changed since, and have a new schema.
	if store, err = storeOf(ctx, p, job, uid); err != nil {
		return err
	}
	output := gotOutput{formatVersion, job, uid, savepoint.KeyJSON(store.KeyType, key), []stateOutput{}}
	if output.States, err = statesOf(store, key, answers); err != nil {
		return err
	}
	if err := a.printData(output, func(w io.Writer) { printStates(w, output.States) }); err != nil || len(output.States) > 0 {
		return err
	}
	return &failure{code: NotFound, err: fmt.Errorf("%s has no state of %s in store %s", job, output.Key, uid)}
}

// storeOf finds a store of the job as it is now.
func storeOf(ctx context.Context, p *control.Plane, job, uid string) (control.StoreSchemas, error) {
	view, err := p.View(ctx)
	if err != nil {
		return control.StoreSchemas{}, err
	}
	current, ok := view.Current()
	if !ok {
		return control.StoreSchemas{}, fmt.Errorf("%w: %s was never started", control.ErrNoJob, job)
	}
	var names []string
	for _, s := range current.Stores {
		if s.UID == uid {
			return s, nil
		}
		names = append(names, s.UID)
	}
	if len(names) == 0 {
		return control.StoreSchemas{}, &failure{code: NotFound, err: fmt.Errorf("%s keeps no state: it has no store", job)}
	}
	slices.Sort(names)
	return control.StoreSchemas{}, &failure{code: NotFound, err: fmt.Errorf("%s has no store %q; it has %s", job, uid, strings.Join(names, ", "))}
}

// statesOf decodes the answers that have a state.
func statesOf(store control.StoreSchemas, key []byte, answers []control.Answer) ([]stateOutput, error) {
	schemas := make(map[int]string, len(store.Versions))
	for i, schema := range store.Versions {
		schemas[i+1] = schema
	}
	decode, err := savepoint.NewDecoder(store.UID, store.KeyType, schemas)
	if err != nil {
		return nil, err
	}
	states := []stateOutput{}
	for _, answer := range answers {
		if answer.Version == 0 {
			continue
		}
		value, err := decode.AppendValue(nil, savepoint.Row{Key: key, Version: answer.Version, Data: answer.Data})
		if err != nil {
			return nil, err
		}
		states = append(states, stateOutput{answer.Partition, answer.Sources, answer.Worker, answer.Version, value})
	}
	return states, nil
}

// printStates prints the value alone; with their partitions, if there are
// several.
func printStates(w io.Writer, states []stateOutput) {
	if len(states) == 1 {
		fmt.Fprintln(w, string(states[0].Value))
		return
	}
	for _, s := range states {
		fmt.Fprintf(w, "partition %d: %s\n", s.Partition, s.Value)
	}
}
