"""A small file whose tree of chunks has 64^8 ways down: python make_looping_trees.py."""
import struct

import h5py

p='looping_trees.h5ad'
with h5py.File(p,'w') as f:
    d=f.create_dataset('X',(2,10),chunks=(1,1),dtype='u1')
    d[...]=1
    for n,k in [('obs',2),('var',10)]:
        g=f.create_group(n); g.attrs['_index']='_index'; g['_index']=[f'{n}{i}' for i in range(k)]
b=bytearray(open(p,'rb').read())
at=b.find(b'TREE\x01')
K=8+8*3; N=24+65*K+64*8
leaf=bytes(b[at:at+N])
# chain of D levels, each with W children, all to the next node
D=8; W=64
end=len(b); end+= -end%8
b+=bytes(end-len(b))
addr=[at]+[end+i*4096 for i in range(D)]
b+=bytes(4096*D)
b[addr[-1]:addr[-1]+N]=leaf
key=leaf[24:24+K]
for i in range(D):
    node=b'TREE\x01'+bytes([D-i])+struct.pack('<H',W)+b'\xff'*16+b''.join(key+struct.pack('<Q',addr[i+1]) for _ in range(W))+key
    b[addr[i]:addr[i]+N]=node.ljust(N,b'\0')[:N]
# end of file address in the superblock
struct.pack_into('<Q',b,40,len(b))
open(p,'wb').write(b)
