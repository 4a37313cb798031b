package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/procd/procd/topology"
)

// topology shows what a job is made of.
func (a *app) topology() *cobra.Command {
	format := "text"
	cmd := &cobra.Command{
		Use:   "topology" + a.fileArgument(),
		Short: "Show a job's stages, stores and topics",
		Args:  a.fileArgs(),
		RunE: func(_ *cobra.Command, args []string) error {
			job, err := a.load(args)
			if err != nil {
				return err
			}
			draw := map[string]func() string{"text": job.plan.Text, "dot": job.plan.Dot, "mermaid": job.plan.Mermaid}[format]
			if draw == nil {
				return usageError("topology --format %s: it is text, dot or mermaid", format)
			}
			return a.print(newPlanOutput(job.plan), func(w io.Writer) { io.WriteString(w, draw()) })
		},
	}
	cmd.Flags().StringVar(&format, "format", format, "text, dot or mermaid")
	return cmd
}

// planOutput is a plan as JSON.
type planOutput struct {
	FormatVersion int           `json:"format_version"`
	Job           string        `json:"job"`
	Hash          string        `json:"hash"`
	Topics        []topicOutput `json:"topics"`
	Stages        []stageOutput `json:"stages"`
	Stores        []storeOutput `json:"stores"`
}

type topicOutput struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	Partitioner string `json:"partitioner"`
}

type stageOutput struct {
	ID      string   `json:"id"`
	Inputs  []string `json:"inputs"`
	Stores  []string `json:"stores"`
	Outputs []string `json:"outputs"`
}

type storeOutput struct {
	UID       string `json:"uid"`
	Stage     string `json:"stage"`
	KeyType   string `json:"key_type"`
	Changelog string `json:"changelog"`
}

func newPlanOutput(p *topology.Plan) planOutput {
	out := planOutput{FormatVersion: formatVersion, Job: p.Job, Hash: p.Hash}
	for _, t := range p.Topics {
		out.Topics = append(out.Topics, topicOutput{topicName(p, t), string(t.Kind), string(t.Partitioner)})
	}
	for _, s := range p.Stages {
		stage := stageOutput{ID: s.ID, Inputs: []string{}, Stores: s.Stores, Outputs: []string{}}
		for _, in := range s.Inputs {
			stage.Inputs = append(stage.Inputs, topicName(p, p.Topics[in.Topic]))
		}
		for _, o := range s.Outputs {
			stage.Outputs = append(stage.Outputs, topicName(p, p.Topics[o]))
		}
		out.Stages = append(out.Stages, stage)
	}
	for _, s := range p.Stores {
		out.Stores = append(out.Stores, storeOutput{s.UID, s.Stage, s.KeyType, changelogName(p, s.UID)})
	}
	return out
}

// topicName is a topic's name in Kafka; the generation is not known here.
func topicName(p *topology.Plan, t topology.Topic) string {
	if t.Kind == topology.RepartitionTopic {
		return fmt.Sprintf("procd.%s.g*.%s.repartition", p.Job, t.Name)
	}
	return t.Name
}

func changelogName(p *topology.Plan, store string) string {
	return fmt.Sprintf("procd.%s.g*.%s.changelog", p.Job, store)
}
