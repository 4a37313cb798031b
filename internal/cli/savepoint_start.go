package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/coordinator"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// startOptions are what the person who starts a process wants and allows.
type startOptions struct {
	resume           bool // start a job that was stopped
	offsetsFromState bool // see [engine.Engine.OffsetsFromState]

	savepoint string // id, path or latest; "": none
	drop      []string
	acceptGap bool
	again     bool
	dryRun    bool
	file      string // the job file, for the next command in a message
}

func (o *startOptions) add(set *pflag.FlagSet) {
	set.BoolVar(&o.resume, "resume", false, "start a job that was stopped")
	set.StringVar(&o.savepoint, "savepoint", "", "start from a savepoint: id, path, or latest, which never rewinds")
	set.StringArrayVar(&o.drop, "drop", nil, "give up the savepoint's state of this uid; may be repeated")
	set.BoolVar(&o.acceptGap, "accept-gap", false, "go on without records that retention has removed since the savepoint")
	set.BoolVar(&o.again, "again", false, "start once more from a savepoint that was started from before")
	set.BoolVar(&o.dryRun, "dry-run", false, "say what the start would do, and do nothing")
	set.BoolVar(&o.offsetsFromState, "offsets-from-state", false, "commit the positions recorded with the state as the group's offsets, then start")
}

// check refuses flags that mean nothing without another.
func (o *startOptions) check() error {
	if o.savepoint != "" {
		return nil
	}
	switch {
	case len(o.drop) > 0:
		return usageError("--drop is about the state in a savepoint: name it with --savepoint")
	case o.acceptGap:
		return usageError("--accept-gap is about the offsets of a savepoint: name it with --savepoint")
	case o.again:
		return usageError("--again is about starting from a savepoint: name it with --savepoint")
	}
	return nil
}

// resolve opens the savepoint that is named, if one is.
func (o *startOptions) resolve(ctx context.Context, p *control.Plane, l *savepoint.Location, dir string, plan *topology.Plan) (control.StartOptions, error) {
	start := control.StartOptions{
		Resume: o.resume, Drop: o.drop, AcceptGap: o.acceptGap, Again: o.again, SavepointDir: dir, JobFile: o.file,
	}
	if o.savepoint == "" {
		return start, nil
	}
	var err error
	start.Savepoint, err = choose(ctx, p, l, dir, o.savepoint, plan)
	return start, refuseDamaged(err)
}

// chosen resolves the start's options, once: a start that is tried again means
// the same savepoint (P7).
func (p *process) chosen(ctx context.Context) (control.StartOptions, error) {
	options := p.options
	if p.from != nil {
		options.savepoint = ""
	}
	start, err := options.resolve(ctx, p.plane, p.location, p.settings.savepoints, p.plan)
	if err != nil {
		return start, err
	}
	if p.from == nil {
		if err := p.trust(ctx, start); err != nil {
			return start, err
		}
		p.from = start.Savepoint
	}
	start.Savepoint = p.from
	return start, nil
}

func (p *process) closeSavepoints() error {
	err := p.location.Close()
	if p.from != nil && p.from.Opened != nil {
		err = errors.Join(err, p.from.Opened.Close())
	}
	return err
}

// coordinate takes the job's savepoints while this process owns its first task.
func (p *process) coordinate(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go p.savepoints.follow(ctx, p.lease.Tail())
	go p.watchExpiry(ctx)
	return coordinator.Run(ctx, coordinator.Deps{
		Plane: p.plane, Lease: p.lease, Plan: p.plan, Location: p.location, Path: p.settings.savepoints,
		Logger: p.log,
	})
}

func (p *process) tellStopped() {
	if id := p.lease.Tail().View().State().Savepoint; id != "" {
		p.log.Info("the job was stopped at a savepoint; go on from it with `procd start --savepoint`", "savepoint", id)
		return
	}
	p.log.Info("the job was stopped; start it again with `procd start --resume`")
}

// dryRun says what a start would do.
func (a *app) dryRun(ctx context.Context, job *loaded, options startOptions) error {
	return a.withStart(ctx, job, options, func(p *control.Plane, o control.StartOptions) error {
		preview, err := p.Preview(ctx, job.plan, o)
		if err != nil {
			return a.dryRunRefused(err)
		}
		output := struct {
			FormatVersion int    `json:"format_version"`
			Job           string `json:"job"`
			control.Preview
		}{formatVersion, job.plan.Job, preview}
		return a.print(output, func(w io.Writer) { printPreview(w, job.plan.Job, preview) })
	})
}

// dryRunRefused prints the verdict that a start would be refused by.
func (a *app) dryRunRefused(err error) error {
	refused := (*control.Refused)(nil)
	if !errors.As(err, &refused) || refused.Verdict == nil {
		return err
	}
	output := struct {
		FormatVersion int `json:"format_version"`
		savepoint.Verdict
	}{formatVersion, *refused.Verdict}
	return errors.Join(err, a.print(output, func(w io.Writer) { printVerdict(w, *refused.Verdict) }))
}

func printPreview(w io.Writer, job string, p control.Preview) {
	if p.Verdict != nil {
		printVerdict(w, *p.Verdict)
	}
	fmt.Fprintf(w, "%s would %s\n", job, previewText(p))
}

func previewText(p control.Preview) string {
	text := ""
	switch p.Action {
	case control.Join:
		text = fmt.Sprintf("join generation %d, revision %d", p.Generation, p.Revision)
	case control.Create:
		text = fmt.Sprintf("begin generation %d", p.Generation)
	case control.Revise:
		text = fmt.Sprintf("begin revision %d of generation %d", p.Revision, p.Generation)
	case control.Resume:
		text = fmt.Sprintf("go on with generation %d, revision %d", p.Generation, p.Revision)
	default:
		text = string(p.Action)
	}
	if p.Replay > 0 {
		text += fmt.Sprintf(", and process %s again", plural(p.Replay, "record"))
	}
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}
