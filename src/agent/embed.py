"""Turn a text file into a C string: embed.py INPUT OUTPUT NAME."""
import sys

text = open(sys.argv[1], encoding="utf-8").read()
with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.write(f"extern const char {sys.argv[3]}[];\nconst char {sys.argv[3]}[] =\n")
    for line in text.splitlines(keepends=True):
        escaped = line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        out.write(f'    "{escaped}"\n')
    out.write("    ;\n")
