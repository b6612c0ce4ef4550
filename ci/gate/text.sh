#!/usr/bin/env bash
# Checks the form of the source: no .rs file above 500 lines, no line of a comment above 100 columns (rows of tables and single
# long words aside), no banned phrase, no sentence with a bare "who" as its subject. CONTRIBUTING.md has the rules and quotes bad English.
# Usage: text.sh [FILE...]     all that git knows by default
. "$(dirname "$0")/../lib.sh"
mapfile -t files < <(git ls-files -- "$@")
pick() { printf '%s\n' "${files[@]}" | grep -E "$1" || true; }
mapfile -t rust < <(pick '\.rs$')
mapfile -t prose < <(pick '\.(rs|md|sh|c|h)$|^ci/run$' | grep -vx CONTRIBUTING.md)
found=$(
    [ ${#rust[@]} -eq 0 ] || perl -CSD -ne '
        print "$ARGV: ", $., " lines, the most are 500\n" if eof && $. > 500;
        print "$ARGV:$.: ", length($_) - 1, " columns, the most are 100\n"
            if length > 101 && m{^\s*//[/!]?+\s*+(?!\|)\S+\s+\S};
        close ARGV if eof' "${rust[@]}"
    # A space of a phrase may be the end of a line, with the next one a comment as well.
    [ ${#prose[@]} -eq 0 ] || perl -0777 -CSD -ne '
        BEGIN {
            my @phrases = ("to be[ ]had", "ane[w]", "can[ ]not", "so[ ]many", "whoeve[r]", "is[ ]said", "as far as[ ]that goes");
            my $space = "(?:\\s|//[/!]?|#|\\*)+";
            s/\[?( )\]?/$space/g for @phrases;
            my $phrases = join "|", @phrases;
            $banned = qr/\b(?:$phrases)\b/i;
            $who = qr{(?:^|[.:!?]\s|//[/!]?\s|#\s|\*\s|\|\s)\s*(?:[-*]\s)?\KWho\s}m;
        }
        for my $pattern ($banned, $who) {
            while (/$pattern/g) {
                my ($line, $what) = (1 + (substr($_, 0, $-[0]) =~ tr/\n//), $&);
                $what =~ s/\s+/ /g;
                print "$ARGV:$line: \"$what\"\n";
            }
        }' "${prose[@]}"
)
[ -z "$found" ] && { echo "${#files[@]} files"; exit 0; }
echo "$found"
exit 1
