package cli

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/procd/procd/config"
)

// firstJob is the job file that `procd init` writes.
//
//go:embed job.yaml
var firstJob string

// firstJobName is the name that init replaces.
const firstJobName = "motion-alarm"

// initialize writes a first job file.
func (a *app) initialize() *cobra.Command {
	return &cobra.Command{
		Use:   "init NAME",
		Short: "Write NAME.yaml, a first job file to change",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.writeFirstJob(args[0])
		},
	}
}

func (a *app) writeFirstJob(name string) error {
	text := strings.Replace(firstJob, "job: "+firstJobName, "job: "+name, 1)
	file := name + ".yaml"
	if _, err := config.Parse(file, []byte(text)); err != nil {
		return usageError("%q cannot be the name of a job: it is a-z, 0-9 and -, begins with a letter or digit, and has at most 63 characters", name)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &failure{code: Failed, err: fmt.Errorf("%s exists already", file), hint: "choose another name, or remove it first"}
	}
	if err != nil {
		return fmt.Errorf("write the job file: %w", err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the job file: %w", err)
	}
	output := struct {
		FormatVersion int    `json:"format_version"`
		Job           string `json:"job"`
		File          string `json:"file"`
	}{formatVersion, name, file}
	return a.print(output, func(w io.Writer) {
		fmt.Fprintf(w, "wrote %s; try next:\n", file)
		for _, command := range []string{"test", "dev", "start"} {
			fmt.Fprintf(w, "  procd %s %s\n", command, file)
		}
	})
}
