package class

import (
	"context"
	"fmt"
	"go/ast"
	"go/constant"
	"go/types"
	"maps"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/inventory"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// option is a flag or a command of a program, as it stands in the source.
type option struct{ name, kind string }

// command is the kind of an option that is a command.
const command = "command"

// flags holds the programs of a component to the flags and the commands that they had. What is registered under a name that is no
// constant is not seen; of commands that have a flag of the same name it is seen that one has it no more.
func (b *breaks) flags(ctx context.Context, component string, def platform.Component, bills [2]map[string]inventory.Bill, trees [2]string) error {
	var sides [2]map[string]map[option]int
	for i, tree := range trees {
		sides[i] = map[string]map[option]int{}
		for _, bill := range bills[i] {
			for program, main := range bill.Programs {
				if sides[i][program] != nil { // it is in several artifacts
					continue
				}
				found, err := b.options(ctx, module(tree, def.TagPrefix), main)
				if err != nil {
					when := []string{b.since, b.Version.String()}[i]
					return fault.Errorf(fault.Usage, "flags of %s in %s: %w; its modules have to be there for the Go command (GOPROXY)", program, when, err)
				}
				sides[i][program] = found
			}
		}
	}
	for _, program := range slices.Sorted(maps.Keys(sides[0])) {
		place := component + " program " + program
		after, ok := sides[1][program]
		if !ok {
			b.add(place, "%s is gone", place)
			continue
		}
		for _, text := range lost(sides[0][program], after) {
			b.add(place, "%s: %s", place, text)
		}
	}
	return nil
}

// lost are the options that a program has less often than before.
func lost(before, after map[option]int) (all []string) {
	kinds := func(of map[option]int, name string) (kinds []string, n int) {
		for o, times := range of {
			if o.name == name {
				kinds, n = append(kinds, o.kind), n+times
			}
		}
		slices.Sort(kinds)
		return kinds, n
	}
	names := map[string]bool{}
	for o := range before {
		names[o.name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, n := kinds(before, name)
		is, left := kinds(after, name)
		switch {
		case left == 0:
			all = append(all, name+" is gone")
		case left < n:
			all = append(all, fmt.Sprintf("%s is gone from one of the places that had it: it stood in %d and stands in %d", name, n, left))
		case slices.ContainsFunc(was, func(kind string) bool { return !slices.Contains(is, kind) }):
			all = append(all, fmt.Sprintf("%s was %s and is %s", name, strings.Join(was, ", "), strings.Join(is, ", ")))
		}
	}
	return all
}

// options are those that are registered in a program's packages of its own module, each with how often it is.
func (b *breaks) options(ctx context.Context, dir, program string) (map[option]int, error) {
	config := &packages.Config{Context: ctx, Dir: dir, Env: b.goEnviron(dir), Mode: packages.NeedName | packages.NeedImports | packages.NeedDeps | packages.NeedModule}
	main, err := packages.Load(config, program)
	if err != nil {
		return nil, err
	}
	var own []string
	packages.Visit(main, nil, func(p *packages.Package) {
		if p.Module != nil && p.Module.Main {
			own = append(own, p.PkgPath)
		}
	})
	if len(own) == 0 {
		return nil, fmt.Errorf("there is no such package in its go.mod")
	}
	config.Mode = packages.NeedName | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedSyntax
	all, err := packages.Load(config, own...)
	if err == nil {
		err = problems(all, dir)
	}
	if err != nil {
		return nil, err
	}
	found := map[option]int{}
	for _, p := range all {
		for _, f := range p.Syntax {
			ast.Inspect(f, func(n ast.Node) bool {
				for _, o := range optionsOf(p.TypesInfo, n) {
					found[o]++
				}
				return true
			})
		}
	}
	return found, nil
}

// optionsOf are the options that one call or one literal registers.
func optionsOf(info *types.Info, n ast.Node) (all []option) {
	add := func(kind, dashes string, e ast.Expr) {
		v := info.Types[e].Value
		if v == nil || v.Kind() != constant.String || constant.StringVal(v) == "" {
			return
		}
		name, _, _ := strings.Cut(constant.StringVal(v), " ") // cobra's Use goes on with the arguments
		all = append(all, option{dashes + name, kind})
	}
	switch n := n.(type) {
	case *ast.CallExpr:
		f := callee(info, n)
		if f == nil || f.Pkg() == nil || f.Pkg().Path() != "flag" && f.Pkg().Path() != "github.com/spf13/pflag" {
			return nil
		}
		// What registers a flag takes its usage, which nothing else does.
		params := f.Signature().Params()
		at := map[string]int{}
		for i := range params.Len() {
			at[params.At(i).Name()] = i
		}
		name, ok := at["name"]
		if _, registers := at["usage"]; !ok || !registers || name >= len(n.Args) {
			return nil
		}
		kind := strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(f.Name(), "F"), "P"), "Var"))
		add(kind, "--", n.Args[name])
		if short, ok := at["shorthand"]; ok && short < len(n.Args) {
			add(kind, "-", n.Args[short])
		}
	case *ast.CompositeLit:
		named, ok := types.Unalias(info.TypeOf(n)).(*types.Named)
		if !ok || named.Obj().Pkg() == nil {
			return nil
		}
		pkg, typ := named.Obj().Pkg().Path(), named.Obj().Name()
		urfave := strings.HasPrefix(pkg, "github.com/urfave/cli/")
		for _, e := range n.Elts {
			kv, ok := e.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			key, _ := kv.Key.(*ast.Ident)
			switch {
			case key == nil:
			case pkg == "github.com/spf13/cobra" && typ == "Command" && key.Name == "Use", urfave && typ == "Command" && key.Name == "Name":
				add(command, "command ", kv.Value)
			case pkg == "github.com/spf13/pflag" && typ == "Flag" && key.Name == "Name", urfave && strings.Contains(typ, "Flag") && key.Name == "Name":
				add(strings.ToLower(strings.TrimSuffix(typ, "Flag")), "--", kv.Value)
			case pkg == "github.com/spf13/pflag" && typ == "Flag" && key.Name == "Shorthand":
				add("", "-", kv.Value)
			case (urfave || pkg == "github.com/spf13/cobra") && key.Name == "Aliases":
				list, _ := kv.Value.(*ast.CompositeLit)
				if list == nil {
					continue
				}
				for _, alias := range list.Elts {
					if typ == "Command" {
						add(command, "command ", alias)
					} else {
						add(strings.ToLower(strings.TrimSuffix(typ, "Flag")), "--", alias)
					}
				}
			}
		}
	}
	return all
}

// callee is the function or the method that a call names.
func callee(info *types.Info, call *ast.CallExpr) *types.Func {
	var id *ast.Ident
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		id = fun
	case *ast.SelectorExpr:
		id = fun.Sel
	default:
		return nil
	}
	f, _ := info.Uses[id].(*types.Func)
	return f
}
