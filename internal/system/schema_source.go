package system

import (
	_ "embed"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
)

// typesSource is where the types of the configuration stand, with the comments
// that describe them and the constants that are their allowed values.
//
//go:embed types.go
var typesSource string

// sourceText is what the source says of the types.
type sourceText struct {
	types     map[string]string // comment by type
	fields    map[string]string // comment by "Type.Field"
	constants map[string][]any  // values by type
}

func readSource() (*sourceText, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "types.go", typesSource, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fault.New(fault.Unsupported, "read", "the types of the configuration", err)
	}
	s := &sourceText{types: map[string]string{}, fields: map[string]string{}, constants: map[string][]any{}}
	for _, declared := range file.Decls {
		general, ok := declared.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				s.typeSpec(spec, general.Doc)
			case *ast.ValueSpec:
				s.valueSpec(spec)
			}
		}
	}
	return s, nil
}

func (s *sourceText) typeSpec(spec *ast.TypeSpec, doc *ast.CommentGroup) {
	name := spec.Name.Name
	s.types[name] = oneLine(doc, spec.Doc, spec.Comment)
	made, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, field := range made.Fields.List {
		for _, identifier := range field.Names {
			s.fields[name+"."+identifier.Name] = oneLine(field.Doc, field.Comment)
		}
	}
}

// valueSpec keeps the constants that have a type of ours and a text.
func (s *sourceText) valueSpec(spec *ast.ValueSpec) {
	of, ok := spec.Type.(*ast.Ident)
	if !ok {
		return
	}
	for _, value := range spec.Values {
		if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				s.constants[of.Name] = append(s.constants[of.Name], text)
			}
		}
	}
}

// oneLine is the text of comments, without their line breaks.
func oneLine(groups ...*ast.CommentGroup) string {
	var all []string
	for _, group := range groups {
		all = append(all, strings.Fields(group.Text())...)
	}
	return strings.Join(all, " ")
}

// goName is what may be the name of a field in a comment.
var goName = newPattern(`\b[A-Z][A-Za-z0-9]*\b`) //nolint:gochecknoglobals // never changed, like what regexp.MustCompile gives

// describe is a comment on a struct or its field for a reader of the file: the
// names of fields are their keys there.
func (s *sourceText) describe(of reflect.Type, comment string) string {
	return goName.compiled().ReplaceAllStringFunc(comment, func(word string) string {
		if field, found := of.FieldByName(word); found && word != of.Name() {
			if key, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); key != "" && key != "-" {
				return key
			}
		}
		return word
	})
}
