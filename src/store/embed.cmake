# cmake -DOUT=file.c -DFILES="a.sql;b.sql" -P embed.cmake: the files as one C table,
# so that a deployed binary carries the migrations that it was built with.
set(arrays "")
set(rows "")
set(number 0)
foreach(path IN LISTS FILES)
  get_filename_component(name "${path}" NAME)
  file(READ "${path}" hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
  string(APPEND arrays "static const unsigned char file_${number}[] = {\n${hex}\n};\n")
  string(APPEND rows "    { \"${name}\", file_${number}, ${size} },\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUT}" "#include \"store/migrate_files.h\"\n\n${arrays}
const migrate_file migrate_files[] = {\n${rows}    { NULL, NULL, 0 },\n};\n")
