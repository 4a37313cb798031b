package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/procd/procd/config"
)

// validate checks a job without a broker.
func (a *app) validate() *cobra.Command {
	var types bool
	cmd := &cobra.Command{
		Use:   "validate" + a.fileArgument(),
		Short: "Check a job: all mistakes, each with file:line:column",
		Args:  a.fileArgs(),
		RunE: func(_ *cobra.Command, args []string) error {
			job, err := a.load(args)
			if err != nil {
				return a.invalid(err)
			}
			return a.valid(job, types)
		},
	}
	if a.job == nil {
		cmd.Flags().BoolVar(&types, "types", false, "print the fields after each step")
	}
	return cmd
}

// validOutput is the verdict as JSON.
type validOutput struct {
	FormatVersion int             `json:"format_version"`
	Valid         bool            `json:"valid"`
	Job           string          `json:"job,omitempty"`
	Hash          string          `json:"hash,omitempty"`
	Types         string          `json:"types,omitempty"`
	Mistakes      []mistakeOutput `json:"mistakes,omitempty"`
}

type mistakeOutput struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Field   string `json:"field,omitempty"`
	Text    string `json:"text,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (a *app) valid(job *loaded, types bool) error {
	p := job.plan
	out := validOutput{FormatVersion: formatVersion, Valid: true, Job: p.Job, Hash: p.Hash}
	if types {
		out.Types = job.file.Types()
	}
	return a.print(out, func(w io.Writer) {
		if types {
			io.WriteString(w, out.Types)
			return
		}
		fmt.Fprintf(w, "%s is valid: %s, %s\n", p.Job, plural(len(p.Stages), "stage"), plural(len(p.Stores), "store"))
	})
}

// invalid prints the mistakes on stdout too, if JSON is asked for: they are the
// result then.
func (a *app) invalid(err error) error {
	mistakes := config.Errors{}
	if !a.flags.json || !errors.As(err, &mistakes) {
		return err
	}
	out := validOutput{FormatVersion: formatVersion}
	for _, m := range mistakes {
		out.Mistakes = append(out.Mistakes, mistakeOutput{m.File, m.Line, m.Column, m.Field, m.Text, m.Msg, m.Hint})
	}
	return errors.Join(a.print(out, nil), err)
}
