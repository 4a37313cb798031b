package topology

import (
	"fmt"
	"strings"
)

// Text shows the plan for people: each stage as the tree of its steps.
func (p *Plan) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "job %s\n", p.Job)
	for _, s := range p.Stages {
		fmt.Fprintf(&b, "\nstage %s\n", s.ID)
		for _, root := range s.roots {
			p.tree(&b, root, root, 1)
		}
	}
	return b.String()
}

// tree writes a step and those that take its stream, within a stage.
func (p *Plan) tree(b *strings.Builder, root, o *op, depth int) {
	fmt.Fprintf(b, "%s%s\n", strings.Repeat("  ", depth), p.line(o, o == root))
	if o.kind == opKeyBy && o != root {
		return // what follows is another stage
	}
	for _, next := range p.ops {
		if next.in == o {
			p.tree(b, root, next, depth+1)
		}
	}
}

// line describes a step. A KeyBy is in two stages: it writes its topic in one
// and reads it in the next.
func (p *Plan) line(o *op, root bool) string {
	switch {
	case o.kind == opFrom:
		return fmt.Sprintf("read topic %s from %v, partitioned by %s, bad records: %s", o.name, o.source.Start, o.source.Partitioner, o.onBad)
	case o.kind == opKeyBy && root:
		return fmt.Sprintf("read repartition topic %s", o.name)
	case o.kind == opKeyBy:
		return fmt.Sprintf("write repartition topic %s, keys: %s", o.name, o.keyType)
	case o.kind == opTo:
		return fmt.Sprintf("write topic %s", o.name)
	case o.kind == opToStdout:
		return "write to stdout"
	case o.kind.stateful():
		return fmt.Sprintf("%s, store %s, keys: %s", strings.ToLower(string(o.kind)), o.name, o.root().keyType)
	}
	return strings.ToLower(string(o.kind))
}

// label is a step in a picture.
func label(o *op) string {
	kind := strings.ToLower(string(o.kind))
	if o.kind.stateful() {
		return kind + " " + o.name
	}
	return kind
}

// picture is a plan as a graph of topics and steps.
type picture struct {
	topic func(i int, t Topic)
	stage func(i int, s *Stage, steps []int)
	edge  func(from, to string)
}

// draw walks the plan: topics, then stages with their steps, then edges.
func (p *Plan) draw(pic picture) {
	for i, t := range p.Topics {
		pic.topic(i, t)
	}
	for i, s := range p.Stages {
		var steps []int
		for k, o := range p.ops {
			if !o.kind.reads() && o.kind != opTo && o.kind != opToStdout && o.root() == s.roots[0] {
				steps = append(steps, k)
			}
		}
		pic.stage(i, s, steps)
	}
	names := make(map[*op]string, len(p.ops))
	for k, o := range p.ops {
		if names[o] = fmt.Sprint("s", k); o.kind.reads() || o.kind == opTo || o.kind == opToStdout {
			names[o] = fmt.Sprint("t", p.topicOf[o])
		}
	}
	for _, o := range p.ops {
		if o.in != nil {
			pic.edge(names[o.in], names[o])
		}
	}
}

// Mermaid shows the plan as a Mermaid flowchart.
func (p *Plan) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	p.draw(picture{
		topic: func(i int, t Topic) { fmt.Fprintf(&b, "  t%d[(\"%s<br/>%s\")]\n", i, t.Name, t.Kind) },
		stage: func(i int, s *Stage, steps []int) {
			if len(steps) == 0 {
				return
			}
			fmt.Fprintf(&b, "  subgraph g%d[\"%s\"]\n", i, s.ID)
			for _, k := range steps {
				fmt.Fprintf(&b, "    s%d[\"%s\"]\n", k, label(p.ops[k]))
			}
			b.WriteString("  end\n")
		},
		edge: func(from, to string) { fmt.Fprintf(&b, "  %s --> %s\n", from, to) },
	})
	return b.String()
}

// Dot shows the plan in Graphviz' language.
func (p *Plan) Dot() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n  rankdir=LR\n", p.Job)
	p.draw(picture{
		topic: func(i int, t Topic) {
			fmt.Fprintf(&b, "  t%d [shape=cylinder label=\"%s\\n%s\"]\n", i, t.Name, t.Kind)
		},
		stage: func(i int, s *Stage, steps []int) {
			fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%q\n", i, s.ID)
			for _, k := range steps {
				fmt.Fprintf(&b, "    s%d [shape=box label=%q]\n", k, label(p.ops[k]))
			}
			b.WriteString("  }\n")
		},
		edge: func(from, to string) { fmt.Fprintf(&b, "  %s -> %s\n", from, to) },
	})
	b.WriteString("}\n")
	return b.String()
}
