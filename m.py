import subprocess,sys,os
from pathlib import Path
M=[("samplers.py","self.s_tmin <= sigma <= self.s_tmax","self.s_tmin < sigma <= self.s_tmax","test_samplers.py"),
("samplers.py","h / (2 * h_last)","h_last / (2 * h)","test_samplers.py"),
("samplers.py","(sigma * sigma_down).sqrt()","(sigma + sigma_down) / 2","test_samplers.py"),
("samplers.py","        if sigma_up > 0:\n            x = x + s_noise * sigma_up * draw()\n        after_step(i + 1, denoised)\n    return x\n\n\ndef sample_dpmpp_2s","        x = x + s_noise * sigma_up * draw()\n        after_step(i + 1, denoised)\n    return x\n\n\ndef sample_dpmpp_2s","test_samplers.py"),
("denoiser.py","sigma.log() / 4","sigma.log() / 2","test_denoiser.py"),
("denoiser.py","scaling.c_noise.expand","scaling.c_noise.to(self.dtype).expand","test_denoiser.py"),
("guiders.py","+ 0.5).floor()","+ 0.25).floor()","test_guiders.py"),
("render.py","    generator = torch.Generator().manual_seed(clip.seed)\n","    generator = torch.Generator().manual_seed(clip.seed); torch.randn(1, generator=generator)\n","test_render.py"),
("nets/clip.py","(factor - 1) / 2","(factor - 1) / 8","nets/test_clip.py"),
("nets/clip.py","align_corners=True","align_corners=False","nets/test_clip.py"),
("checkpoint.py","if size < 8 + length + end:","if size < 8 + length:","test_damaged_checkpoint.py"),
("checkpoint.py","weights_only=True","weights_only=False","test_damaged_checkpoint.py"),
("checkpoint.py","        done += size\n","        done = size\n","test_checkpoint.py"),
("native.py","torch.float32 if _stays_float32(name, order.config) else dtype","dtype","test_native.py"),
("native.py","fps - 1","fps","test_golden.py"),
("config.py",'not isinstance(target, str) or ','',"test_config.py"),
("preview.py","1e-3 * len(channels)","0 * len(channels)","test_preview.py"),
("memory.py",', "can\'t allocate memory"',"","test_memory.py"),
]
for f,a,b,t in M:
    p=Path('img2vid/engine')/f; s=p.read_text()
    if a not in s: print('NOT FOUND',f,a); continue
    p.write_text(s.replace(a,b))
    args=t.split()
    r=subprocess.run([sys.executable,'-B','-m','pytest','-q','-x','-p','no:cacheprovider','-W','ignore','tests/engine/'+args[0],*args[1:]],capture_output=True,text=True,env={**os.environ,'PYTHONPATH':os.getcwd()})
    p.write_text(s)
    print('caught' if r.returncode==1 else f'SURVIVED rc{r.returncode}',f,repr(b[:50]),[l for l in r.stdout.splitlines() if l.startswith('FAILED')][:1],flush=True)
