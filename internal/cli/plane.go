package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/engine"
)

// jobArgument is how the usage of a command about a running job shows it.
func (a *app) jobArgument() string {
	if a.job != nil {
		return ""
	}
	return " JOB"
}

// jobName is the job that a command is about: its name, or a job file.
func (a *app) jobName(args []string) (string, error) {
	if a.job != nil {
		return a.job.Name(), nil
	}
	switch {
	case isJobFile(args[0]):
		job, err := loadFile(args[0])
		if err != nil {
			return "", err
		}
		return job.plan.Job, nil
	case strings.Contains(args[0], "/"):
		return "", usageError("%q is neither the name of a job nor a file that ends in .yaml", args[0])
	}
	return args[0], nil
}

// controlSettings say how commands reach a job's control topic.
func (a *app) controlSettings(s settings, job string) control.Settings {
	return control.Settings{
		Cluster: s.cluster, Job: job, SessionTimeout: engine.SessionTimeout, By: whoAmI(), Logger: a.log,
	}
}

// withPlane opens the control topic of the job that a command is about.
func (a *app) withPlane(cmd *cobra.Command, args []string, do func(ctx context.Context, p *control.Plane, job string, s settings) error) error {
	job, err := a.jobName(args)
	if err != nil {
		return err
	}
	s, err := a.settings()
	if err != nil {
		return err
	}
	plane, err := control.Open(cmd.Context(), a.controlSettings(s, job))
	if err != nil {
		return err
	}
	defer plane.Close()
	return a.noJob(cmd.Context(), job, do(cmd.Context(), plane, job, s))
}
